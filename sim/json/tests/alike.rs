//! Shared trees behave as `serde_json`'s, and a copy never sees what happens to another.

use json::{Map, Value, json};
use proptest::prelude::*;

type Plain = serde_json::Value;

fn plain() -> impl Strategy<Value = Plain> {
    let leaf = prop_oneof![
        Just(Plain::Null),
        any::<bool>().prop_map(Plain::from),
        any::<i64>().prop_map(Plain::from),
        any::<u64>().prop_map(Plain::from),
        (-1e9..1e9).prop_map(Plain::from),
        "[a-c~/\"\\\\é]{0,40}".prop_map(Plain::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Plain::from),
            proptest::collection::btree_map("[a01~/]{0,3}", inner, 0..5)
                .prop_map(|entries| Plain::Object(entries.into_iter().collect())),
        ]
    })
}

/// All pointers into a tree, and some that lead nowhere.
fn pointers(tree: &Plain, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match tree {
        Plain::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{index}"), found);
            }
        }
        Plain::Object(entries) => {
            for (key, value) in entries {
                pointers(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        _ => {}
    }
    found.extend(["/x", "/01", "/+1", "/-"].map(|end| format!("{at}{end}")));
}

proptest! {
    #[test]
    fn text_is_the_same(tree in plain()) {
        let shared = Value::from(tree.clone());
        prop_assert_eq!(shared.to_string(), tree.to_string());
        prop_assert_eq!(format!("{shared:#}"), format!("{tree:#}"));
        let read: Plain = serde_json::from_str(&tree.to_string()).unwrap();
        prop_assert_eq!(Plain::from(json::from_str(&tree.to_string()).unwrap()), read);
        prop_assert_eq!(Plain::from(shared), tree);
    }

    #[test]
    fn equal_is_the_same(one in plain(), other in plain()) {
        let (left, right) = (Value::from(one.clone()), Value::from(other.clone()));
        prop_assert_eq!(left == right, one == other);
        prop_assert!(left.clone() == left);
    }

    #[test]
    fn pointers_lead_to_the_same(tree in plain()) {
        let shared = Value::from(tree.clone());
        let mut all = Vec::new();
        pointers(&tree, "", &mut all);
        for pointer in all {
            prop_assert_eq!(shared.pointer(&pointer).cloned().map(Plain::from), tree.pointer(&pointer).cloned());
        }
    }

    #[test]
    fn patches_merge_to_the_same(tree in plain(), patch in plain()) {
        let mut shared = Value::from(tree.clone());
        shared.merge(&patch.clone().into());
        let mut merged = tree;
        json_patch::merge(&mut merged, &patch);
        prop_assert_eq!(Plain::from(shared), merged);
    }

    #[test]
    fn a_copy_never_sees_what_happens_to_another(tree in plain()) {
        let kept = Value::from(tree.clone());
        let mut all = Vec::new();
        pointers(&tree, "", &mut all);
        for pointer in all {
            let (mut shared, mut alone) = (kept.clone(), tree.clone());
            match (shared.pointer_mut(&pointer), alone.pointer_mut(&pointer)) {
                (Some(shared), Some(alone)) => {
                    *shared = json!({"changed": [1]});
                    *alone = serde_json::json!({"changed": [1]});
                }
                (shared, alone) => prop_assert_eq!(shared.is_some(), alone.is_some()),
            }
            prop_assert_eq!(Plain::from(shared), alone);
            prop_assert_eq!(&Plain::from(kept.clone()), &tree);
        }
    }
}

#[test]
fn trees_are_written_in_source_as_in_json() {
    let (name, count, nothing, words) = ("a".to_owned(), 3_u32, None::<&str>, ["x", "y"]);
    let inner = json!({"deep": [1, {"er": null}]});
    let tree = json!({
        "name": name, "count": count + 1, "nothing": nothing, "words": words, "inner": inner,
        "list": [true, -1, 2.5, "text", [], {}, format!("{}-{}", name, count)],
        name.as_str(): {"key": "of an expression"},
    });
    let inner = serde_json::json!({"deep": [1, {"er": null}]});
    let wanted = serde_json::json!({
        "name": name, "count": count + 1, "nothing": nothing, "words": words, "inner": inner,
        "list": [true, -1, 2.5, "text", [], {}, format!("{}-{}", name, count)],
        name.as_str(): {"key": "of an expression"},
    });
    assert_eq!(Plain::from(tree), wanted);
    assert_eq!(json!(null), Value::Null);
    assert_eq!(json!([1, 2,]), json!([1, 2]));
}

#[test]
fn asking_and_setting_by_index_is_as_with_serde_json() {
    let mut tree = json!({"list": [1]});
    assert_eq!(tree["absent"]["below"], Value::Null);
    assert_eq!(tree["list"][7], Value::Null);
    tree["made"]["below"] = json!(1);
    tree["list"][0] = json!("x");
    assert_eq!(tree, json!({"list": ["x"], "made": {"below": 1}}));
    assert!(tree["list"][0] == "x" && tree["made"]["below"] == 1 && tree["made"] != 1);
}

#[test]
fn what_changes_nothing_shares_on() {
    /// Whether two maps, which are not empty, are one.
    fn is_one(left: &Map, right: &Map) -> bool {
        std::ptr::eq(left.values().next().expect("a value"), right.values().next().expect("a value"))
    }
    let tree = json!({"a": {"b": 1}, "c": 2});
    let Value::Object(kept) = &tree else { panic!("a map") };
    let mut copy = kept.clone();
    assert_eq!(copy.remove("x"), None);
    assert!(copy.get_mut("x").is_none());
    copy.retain(|_, _| true);
    copy.extend(Vec::<(String, Value)>::new());
    assert!(is_one(kept, &copy), "nothing was changed");
    copy.insert("c", 3);
    assert!(!is_one(kept, &copy));
    let (Some(Value::Object(one)), Some(Value::Object(other))) = (kept.get("a"), copy.get("a")) else {
        panic!("two maps")
    };
    assert!(is_one(one, other), "what was not touched is still shared");
    let mut merged = tree.clone();
    merged.merge(&json!({"a": {"b": 1}}));
    assert_eq!(merged, tree);
}
