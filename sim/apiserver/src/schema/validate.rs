//! Validation of values against a structural schema.

use json::Value;

use super::{Schema, Trail};
use crate::failure::Cause;
use crate::validate::type_of;

impl Schema {
    /// Lists what is wrong with an object.
    pub fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        self.validate_at(object, &mut Trail::default(), true, &mut causes);
        causes
    }

    fn validate_at(&self, value: &Value, trail: &mut Trail, is_resource: bool, causes: &mut Vec<Cause>) {
        let path = trail.text();
        let shown = if path.is_empty() { "<nil>" } else { path };
        if value.is_null() && self.is_nullable {
            return;
        }
        if let Some(wanted) = self.mismatch(value) {
            let detail = format!("{shown} in body must be of type {wanted}: \"{}\"", type_of(value));
            causes.push(Cause::type_invalid(path, type_of(value), &detail));
            return;
        }
        let rules = &self.rules;
        if !rules.enumeration.is_empty() && !rules.enumeration.contains(value) {
            let supported: Vec<String> = rules
                .enumeration
                .iter()
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                .collect();
            causes.push(Cause::unsupported(path, value, &supported));
        }
        match value {
            Value::String(text) => self.validate_text(text, value, path, causes),
            Value::Number(number) => {
                self.validate_number(number.as_f64().unwrap_or(f64::NAN), value, path, causes);
            }
            Value::Array(items) => self.validate_items(items, value, trail, causes),
            Value::Object(map) => {
                for name in &rules.required {
                    if !map.contains_key(name.as_str()) {
                        causes.push(Cause::required(Trail::from(path).below(name).text(), ""));
                    }
                }
                let count = map.len() as u64;
                if rules.min_properties.is_some_and(|least| count < least) {
                    let detail = format!(
                        "{shown} in body should have at least {} properties",
                        rules.min_properties.unwrap_or(0)
                    );
                    causes.push(Cause::invalid(path, value, &detail));
                }
                if let Some(most) = rules.max_properties.filter(|most| count > *most) {
                    causes.push(Cause::too_many(path, map.len(), most));
                }
                for (name, value) in map {
                    if is_resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                        continue;
                    }
                    let schema = self.properties.get(name.as_str()).or(self.additional.as_deref());
                    if let Some(schema) = schema {
                        trail.within(name, |trail| {
                            schema.validate_at(value, trail, schema.is_embedded_resource, causes);
                        });
                    }
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        self.validate_junctors(value, trail.text(), causes);
    }

    /// Returns the wanted type when the value has another one.
    fn mismatch(&self, value: &Value) -> Option<String> {
        if self.is_int_or_string {
            let fits = value.is_string() || value.is_i64() || value.is_u64();
            return (!fits).then(|| "integer,string".to_owned());
        }
        let kind = self.kind.as_deref()?;
        let fits = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => {
                value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
            }
            "number" => value.is_number(),
            _ => true,
        };
        (!fits).then(|| kind.to_owned())
    }

    fn validate_text(&self, text: &str, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        let rules = &self.rules;
        let length = text.chars().count() as u64;
        if let Some(least) = rules.min_length.filter(|least| length < *least) {
            causes.push(Cause::invalid(
                path,
                value,
                &format!("{path} in body should be at least {least} chars long"),
            ));
        }
        if let Some(most) = rules.max_length.filter(|most| length > *most) {
            causes.push(Cause::too_long(path, most));
        }
        if let Some((source, Some(pattern))) = &rules.pattern
            && !pattern.is_match(text)
        {
            causes.push(Cause::invalid(path, value, &format!("{path} in body should match '{source}'")));
        }
        let has_format = match rules.format.as_str() {
            "date-time" => text.parse::<jiff::Timestamp>().is_ok() && text.contains(['T', 't']),
            "date" => text.parse::<jiff::civil::Date>().is_ok(),
            "byte" => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.decode(text).is_ok()
            }
            "uuid" => {
                text.len() == 36 && text.chars().all(|letter| letter == '-' || letter.is_ascii_hexdigit())
            }
            "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
            "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
            _ => true,
        };
        if !has_format {
            let detail = format!("{path} in body must be of type {}: {value}", rules.format);
            causes.push(Cause::invalid(path, value, &detail));
        }
    }

    fn validate_number(&self, number: f64, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        let rules = &self.rules;
        if let Some(least) = rules.minimum {
            let is_low = if rules.is_exclusive_minimum { number <= least } else { number < least };
            if is_low {
                let or_equal = if rules.is_exclusive_minimum { "" } else { " or equal to" };
                causes.push(Cause::invalid(
                    path,
                    value,
                    &format!("{path} in body should be greater than{or_equal} {least}"),
                ));
            }
        }
        if let Some(most) = rules.maximum {
            let is_high = if rules.is_exclusive_maximum { number >= most } else { number > most };
            if is_high {
                let or_equal = if rules.is_exclusive_maximum { "" } else { " or equal to" };
                causes.push(Cause::invalid(
                    path,
                    value,
                    &format!("{path} in body should be less than{or_equal} {most}"),
                ));
            }
        }
        if let Some(step) = rules.multiple_of
            && (number / step).fract() != 0.0
        {
            causes.push(Cause::invalid(
                path,
                value,
                &format!("{path} in body should be a multiple of {step}"),
            ));
        }
    }

    fn validate_items(&self, items: &[Value], value: &Value, trail: &mut Trail, causes: &mut Vec<Cause>) {
        let path = trail.text();
        let rules = &self.rules;
        let count = items.len() as u64;
        if let Some(least) = rules.min_items.filter(|least| count < *least) {
            causes.push(Cause::invalid(
                path,
                value,
                &format!("{path} in body should have at least {least} items"),
            ));
        }
        if let Some(most) = rules.max_items.filter(|most| count > *most) {
            causes.push(Cause::too_many(path, items.len(), most));
        }
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = &self.items {
                trail.within_item(index, |trail| {
                    schema.validate_at(item, trail, schema.is_embedded_resource, causes);
                });
            }
            let is_repeated = match self.list_type.as_str() {
                "set" => items[..index].contains(item),
                "map" => {
                    let keys = |item: &Value| -> Vec<Option<Value>> {
                        self.list_map_keys.iter().map(|key| item.get(key).cloned()).collect()
                    };
                    items[..index].iter().any(|other| keys(other) == keys(item))
                }
                _ => false,
            };
            if is_repeated {
                let shown = if self.list_type == "map" {
                    let keys = self.list_map_keys.iter();
                    Value::Object(keys.filter_map(|key| Some((key, item.get(key)?.clone()))).collect())
                } else {
                    item.clone()
                };
                causes.push(Cause::duplicate(format!("{}[{index}]", trail.text()), &shown));
            }
        }
    }

    fn validate_junctors(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        let fits = |schema: &Self| {
            let mut inner = Vec::new();
            schema.validate_at(value, &mut Trail::from(path), false, &mut inner);
            inner.is_empty()
        };
        let rules = &self.rules;
        for schema in &rules.all_of {
            schema.validate_at(value, &mut Trail::from(path), false, causes);
        }
        let mut refuse = |detail: String| causes.push(Cause::invalid(path, value, &detail));
        if !rules.any_of.is_empty() && !rules.any_of.iter().any(fits) {
            refuse(format!("\"{path}\" must validate at least one schema (anyOf)"));
        }
        if !rules.one_of.is_empty() {
            match rules.one_of.iter().filter(|schema| fits(schema)).count() {
                0 => refuse(format!(
                    "\"{path}\" must validate one and only one schema (oneOf). Found none valid"
                )),
                1 => {}
                _ => refuse(format!(
                    "\"{path}\" must validate one and only one schema (oneOf). Found more than one valid"
                )),
            }
        }
        if rules.not.as_deref().is_some_and(fits) {
            refuse(format!("\"{path}\" must not validate the schema (not)"));
        }
    }
}
