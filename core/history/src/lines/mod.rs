//! Histories as JSON lines, one operation each; FORMAT.md (Histories) tells them field by field.

mod read;
mod write;

pub use read::{BadLine, read};
pub use write::write;
pub(crate) use write::{operation, text};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, History, Operation, Reply};
    use base::rng::Rng;

    fn one(line: &str) -> Result<Operation, BadLine> {
        let mut history = History::new();
        read(line.as_bytes(), 7, Dialect::Redis, &mut history)?;
        Ok(history.operations()[0].clone())
    }

    fn bad(line: &str) -> String {
        one(line).expect_err("it is no operation").to_string()
    }

    fn result(op: &str, result: &str, returns: &str) -> Option<Reply> {
        let line = format!(
            r#"{{"client":1,"op":"{op}","key":"a","args":[],"result":{result},"invoke_ns":5,"return_ns":{returns}}}"#
        );
        one(&line).expect("it is an operation").returned.map(|returned| returned.reply)
    }

    #[test]
    fn a_line_is_an_operation() {
        let operation = one(
            r#"{"client":"c1","op":"set","key":"a","args":["1","NX"],"result":"OK","invoke_ns":5,"return_ns":9,"node":3}"#,
        );
        let operation = operation.expect("it is one, with a field for others");
        assert_eq!((&*operation.client, operation.invoke_ns, operation.line), ("c1", 5, 7));
        assert_eq!(operation.command.to_string(), "SET a 1 NX");
        assert_eq!(operation.returned.map(|returned| (returned.reply, returned.at_ns)), Some((Reply::ok(), 9)));
        let many = one(
            r#"{"client":1,"op":"MSET","args":["a",1,"b",{"hex":"FF00"}],"result":true,"invoke_ns":5,"return_ns":5}"#,
        );
        assert_eq!(many.expect("it is one").command.to_string(), r#"MSET a 1 b "\xff\x00""#);
        let multi = one(
            r#"{"client":1,"op":"multi","key":null,"args":[["incr","a"],["get","b"]],"result":[3,null],"invoke_ns":5,"return_ns":6}"#,
        );
        assert_eq!(multi.expect("it is one").command.to_string(), "MULTI [INCR a] [GET b]");
    }

    #[test]
    fn a_result_is_a_value_or_unknown() {
        assert_eq!(result("get", r#""x""#, "6"), Some(Reply::text("x")));
        assert_eq!(result("get", r#"{"hex":"ff"}"#, "6"), Some(Reply::text(b"\xff")));
        assert_eq!(result("get", "-3", "6"), Some(Reply::Int(-3)));
        assert_eq!(result("get", "false", "6"), Some(Reply::Int(0)));
        assert_eq!(result("get", "null", "6"), Some(Reply::Nil));
        assert_eq!(result("get", r#"{"error":"ERR x"}"#, "6"), Some(Reply::Error("ERR x".to_owned())));
        assert_eq!(result("get", "null", "null"), None);
        assert_eq!(result("incr", "null", "6"), None, "INCR never answers nil");
        assert_eq!(result("get", r#""INDOUBT""#, "6"), None);
        assert_eq!(result("get", r#""INDOUBT""#, "null"), None);
        assert_eq!(result("get", r#"{"hex":"494e444f554254"}"#, "6"), Some(Reply::text("INDOUBT")));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_with_what_to_do() {
        let line = |fields: &str| format!(r#"{{"client":1,"op":"get","key":"a","args":[],{fields}}}"#);
        for (line, parts) in [
            ("[1]".to_owned(), ["a JSON array", "write one object"]),
            ("{\"client\":".to_owned(), ["no JSON", "EOF"]),
            ("{\"client\":\"\u{1}".to_owned(), ["no JSON", "control character"]),
            (line(r#""result":1,"invoke_ns":5"#), ["`return_ns` is missing", "null"]),
            (line(r#""result":1,"invoke_ns":-5,"return_ns":7"#), ["`invoke_ns` is -5", "nanoseconds"]),
            (line(r#""result":1,"invoke_ns":5.5,"return_ns":7"#), ["`invoke_ns` is 5.5", "nanoseconds"]),
            (line(r#""result":1,"invoke_ns":5,"return_ns":4"#), ["returns at 4", "before it is called, at 5"]),
            (line(r#""invoke_ns":5,"return_ns":7"#), ["`result` is missing", "null"]),
            (line(r#""result":1,"invoke_ns":5,"return_ns":null"#), ["`result` is 1", "`return_ns` is null"]),
            (line(r#""result":1.5,"invoke_ns":5,"return_ns":7"#), ["`result` is 1.5", "integer"]),
            (line(r#""result":{"hex":"f"},"invoke_ns":5,"return_ns":7"#), ["`result` is {\"hex\":\"f\"}", "hex"]),
            (
                line(r#""result":"x","invoke_ns":5,"return_ns":7"#).replace("get", "blpop"),
                ["no operation \"BLPOP\"", "leave"],
            ),
            (line(r#""result":"x","invoke_ns":5,"return_ns":7"#).replace("[]", "3"), ["`args` is 3", "array"]),
            (line(r#""result":"x","invoke_ns":5,"return_ns":7"#).replace("[]", "[1.5]"), ["`args` has 1.5", "string"]),
            (line(r#""result":"x","invoke_ns":5,"return_ns":7"#).replace("1,", "{},"), ["`client` is {}", "name"]),
        ] {
            let message = bad(&line);
            assert!(parts.iter().all(|part| message.contains(part)), "{line}: {message}");
        }
    }

    #[test]
    fn a_refused_operation_may_be_any_and_a_blank_line_is_none() {
        let mut history = History::new();
        let refused = r#"{"client":1,"op":"blpop","key":"a","args":[],"result":{"error":"ERR unknown command"},"invoke_ns":5,"return_ns":6}"#;
        read(refused.as_bytes(), 1, Dialect::Redis, &mut history).expect("it has no effect, whatever it is");
        read(b" \t\r\n", 2, Dialect::Redis, &mut history).expect("it says nothing");
        assert_eq!((history.operations().len(), history.refused()), (0, 1));
        assert!(bad(&refused.replace("ERR unknown command", "INDOUBT")).contains("no operation"));
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let sample = crate::sample::Sample {
            operations: 2000,
            keys: 8,
            clients: 5,
            unknown_per_mille: 100,
            tied_per_mille: 200,
            flaw: None,
        };
        let (history, mut again) = (sample.history(1), History::new());
        for (operation, line) in history.operations().iter().zip(1..) {
            read(write(operation).as_bytes(), line, Dialect::Redis, &mut again).expect("it was written by us");
        }
        assert_eq!(history.operations(), again.operations());
        let mut rng = Rng::new(3);
        for _ in 0..500 {
            let bytes: Vec<u8> = (0..rng.below(9)).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
            let mut operation = one(&format!(
                r#"{{"client":"\"","op":"get","key":"a","result":null,"invoke_ns":{},"return_ns":{}}}"#,
                u64::MAX,
                u64::MAX
            ))
            .expect("it is one");
            operation.returned.as_mut().expect("it returned").reply =
                Reply::List(vec![Reply::text(&bytes), Reply::text("INDOUBT")]);
            assert_eq!(one(&write(&operation)).expect("it was written by us"), operation);
        }
    }
}
