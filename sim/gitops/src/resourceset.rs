//! Expands ResourceSets of the Flux operator whose inputs stand in the input.
//!
//! Promises static inputs and static input providers; a provider that asks somebody else (a pull
//! request list, an image registry) is named as not rendered.

use serde_json::{Value, json};

use crate::model::Skipped;
use crate::template;
use crate::yaml::{Document, Stream, parse};

/// The resources of a ResourceSet, and why some are missing.
pub(crate) fn expand(set: &Document, all: &[Document]) -> (Vec<Document>, Vec<Skipped>) {
    let mut out = Vec::new();
    let mut skipped = Vec::new();
    let origin = set.line_of(&["spec", "resourcesTemplate"]);
    let mut skip = |why: String| skipped.push(Skipped { what: set.title(), why, origin: origin.clone() });
    let mut inputs: Vec<Value> =
        set.at(&["spec", "inputs"]).and_then(Value::as_array).cloned().unwrap_or_default();
    for from in set.at(&["spec", "inputsFrom"]).and_then(Value::as_array).into_iter().flatten() {
        let name = from.get("name").and_then(Value::as_str).unwrap_or_default();
        let provider = all.iter().find(|document| {
            document.kind() == "ResourceSetInputProvider"
                && document.name() == name
                && document.namespace() == set.namespace()
        });
        match provider {
            Some(provider) if provider.str(&["spec", "type"]) == Some("Static") => {
                inputs.push(provider.at(&["spec", "defaultValues"]).cloned().unwrap_or_else(|| json!({})));
            }
            Some(provider) => skip(format!(
                "its inputs come from a provider of type {}: pipe the rendered resources into -",
                provider.str(&["spec", "type"]).unwrap_or("?")
            )),
            None => skip(format!("its input provider {name:?} is not in the input")),
        }
    }
    if inputs.is_empty() && set.at(&["spec", "inputsFrom"]).is_none() {
        inputs.push(json!({}));
    }
    for input in &inputs {
        let mut texts: Vec<String> =
            set.str(&["spec", "resourcesTemplate"]).map(str::to_owned).into_iter().collect();
        texts.extend(
            set.at(&["spec", "resources"])
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(crate::yaml::emit),
        );
        for text in texts {
            match template::render(&text, input) {
                Ok(rendered) => {
                    for chunk in Stream::new(rendered.as_bytes(), &origin.file).flatten() {
                        match parse(&chunk.text, &origin) {
                            Ok(value) if value.is_object() => {
                                out.push(Document { value, origin: origin.clone(), text: "".into() });
                            }
                            Ok(_) => {}
                            Err(problem) => skip(format!("its template gives no YAML: {}", problem.message)),
                        }
                    }
                }
                Err(message) => skip(format!("its template is not rendered: {message}")),
            }
        }
    }
    (out, skipped)
}
