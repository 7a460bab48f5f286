//! The document for programs (docs/openapi.json), and whether an answer is what it promises: the part of JSON Schema that it uses, and
//! a panic at what it doesn't, so that nothing is promised unchecked.

use super::Page;
use serde_json::Value;

/// docs/openapi.json as the node serves it.
#[derive(Debug)]
pub struct Document(pub Value);

/// What may stand in a schema without saying anything of values.
const SILENT: &[&str] = &["description", "default", "minLength", "maxLength", "maximum", "pattern"];

impl Document {
    /// Checks an answer to `method` on the path of the document that is written `path`.
    pub fn check(&self, method: &str, path: &str, page: &Page) {
        let operation = &self.0["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} stands in the document");
        let response = self.follow(&operation["responses"][page.status.to_string()]);
        assert!(response.is_object(), "{method} {path} may answer {}: {}", page.status, page.body);
        let content = response["content"].as_object().expect("an answer has a type");
        let (kind, content) = content.iter().next().expect("it has one");
        assert!(page.head.contains(&format!("content-type: {kind}")), "{method} {path}: {}", page.head);
        if kind == "application/json" {
            let value = serde_json::from_str(&page.body).unwrap_or_else(|why| panic!("{path}: {why}: {}", page.body));
            self.fits(&content["schema"], &value, path);
        }
    }

    /// Checks a body that is sent.
    pub fn check_body(&self, path: &str, body: &str) {
        let schema = &self.0["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        self.fits(schema, &serde_json::from_str(body).expect("it is JSON"), path);
    }

    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        let path = reference.strip_prefix('#').expect("references stay in the document");
        self.0.pointer(path).unwrap_or_else(|| panic!("{reference} is there"))
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) {
        let schema = self.follow(schema);
        let rules = schema.as_object().unwrap_or_else(|| panic!("{at} has a schema"));
        for (rule, wanted) in rules {
            match rule.as_str() {
                "type" => assert!(is_a(wanted, value), "{at} is no {wanted}: {value}"),
                "enum" => assert!(wanted.as_array().is_some_and(|all| all.contains(value)), "{at}: {value}"),
                "minimum" => {
                    assert!(value.as_i64().is_none_or(|number| number >= wanted.as_i64().unwrap_or(0)), "{at}")
                }
                "items" => {
                    let items = value.as_array().expect("its type was checked");
                    items.iter().for_each(|item| self.fits(wanted, item, &format!("{at}[]")));
                }
                "oneOf" => {
                    let kinds = wanted.as_array().expect("it is a list");
                    let one = kinds.iter().find(|kind| is_a(&self.follow(kind)["type"], value));
                    self.fits(one.unwrap_or_else(|| panic!("{at} is none of {wanted}: {value}")), value, at);
                }
                "properties" | "required" | "additionalProperties" => self.fields_fit(schema, value, at),
                silent => assert!(SILENT.contains(&silent), "{at}: '{silent}' is checked by nobody"),
            }
        }
    }

    fn fields_fit(&self, schema: &Value, value: &Value, at: &str) {
        let fields = value.as_object().unwrap_or_else(|| panic!("{at} is an object: {value}"));
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(fields.contains_key(name), "{at} lacks {name}: {value}");
        }
        for (name, value) in fields {
            let property = &schema["properties"][name];
            assert!(property.is_object(), "{at}.{name} is promised by nobody: {value}");
            self.fits(property, value, &format!("{at}.{name}"));
        }
    }
}

fn is_a(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a type is a word") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type: {other}"),
    }
}
