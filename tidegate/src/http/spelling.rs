//! Names in addresses: bytes as percents, and questions behind the path.

/// The bytes that a part of an address stands for; nothing if a percent has no two digits behind it.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        out.push(if *first == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            rest = behind;
            16 * digit(digits[0])? + digit(digits[1])?
        } else {
            *first
        });
    }
    Some(out)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Bytes as a part of an address.
pub fn encode(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    bytes.iter().map(|byte| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// What is asked behind the path, in order; a plus is a blank there. Nothing if it can't be read.
pub fn questions(query: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let part = part.replace('+', " ");
        let (name, value) = part.split_once('=').unwrap_or((&part, ""));
        Some((String::from_utf8(decode(name)?).ok()?, decode(value)?))
    };
    parts.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_through_an_address() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        assert_eq!(encode(b"a b/:%7E~"), "a%20b%2F%3A%257E~");
        assert_eq!(decode("a+b%2fc"), Some(b"a+b/c".to_vec()));
        for bad in ["%", "%4", "%zz", "a%-1"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn questions_have_names_and_values() {
        let pairs = questions("match=a+b*&count=%31&&x").expect("it can be read");
        assert_eq!(pairs, [("match", "a b*"), ("count", "1"), ("x", "")].map(|(n, v)| (n.to_owned(), v.into())));
        assert_eq!(questions("match=%f"), None);
    }
}
