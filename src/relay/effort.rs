//! How much work it can be to check a value against a schema, known before it is done.
//!
//! A schema is somebody else's program: a few references that fork are enough to look at one value more often than
//! there is time for. So the paths are counted here, and a check that could take too long is not made.

use crate::wire::message::excerpt;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The most subschemas.
const MOST_NODES: usize = 5_000;
/// The most names (`$id`, `$anchor`) that references may go to.
const MOST_NAMES: usize = 200;
/// The most schemas that one value may be handed through, one by the other.
const LONGEST_CHAIN: usize = 64;
/// The most schemas that are under way at once: they are frames on the stack.
const MOST_FRAMES: usize = 1_024;
/// The deepest value that is counted for.
const MOST_LEVELS: usize = 64;
/// What is not worth counting on.
const ENOUGH: u64 = 1 << 32;
/// From so many on, properties are looked up and not gone through.
const LOOKED_UP: usize = 64;
/// So many bytes of text count as one value.
const BYTES_AS_VALUE: usize = 16;

/// How often a value is looked at, by its depth.
#[derive(Debug)]
pub(super) struct Effort {
    /// For values of depth 0, 1, 2 and so on, the most steps that any part of it costs.
    steps: Vec<u64>,
    /// Whether deeper values cost no more than the last.
    is_complete: bool,
    chain: usize,
}

/// What one check costs at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// To know whether the value fits.
    pub(super) to_decide: u64,
    /// To know everything that does not.
    pub(super) to_explain: u64,
}

/// One subschema, and the others that it hands values to.
#[derive(Debug, Default)]
struct Node {
    own: u64,
    /// How often those in place are asked.
    factor: u64,
    /// For the value itself.
    in_place: Vec<usize>,
    /// For its parts, each part at most one of them.
    either: Vec<usize>,
    /// For its parts, each part perhaps all of them.
    each: Vec<usize>,
}

struct Graph<'schema> {
    /// What references can start from: the document, and whatever has an id.
    resources: Vec<(&'schema str, &'schema Value)>,
    anchors: Vec<(&'schema str, &'schema Value)>,
    nodes: Vec<Node>,
    indices: HashMap<*const Value, usize>,
    waiting: Vec<(usize, &'schema Value)>,
}

// === impl Effort ===

impl Effort {
    /// Counts; the text says why the schema is too much.
    pub(super) fn of(schema: &Value) -> Result<Self, String> {
        let mut graph = Graph {
            resources: vec![("", schema)],
            anchors: Vec::new(),
            nodes: Vec::new(),
            indices: HashMap::new(),
            waiting: Vec::new(),
        };
        graph.names(schema);
        if graph.resources.len() + graph.anchors.len() > MOST_NAMES {
            return Err(format!("it has more than {MOST_NAMES} names for references"));
        }
        graph.index(schema);
        while let Some((index, value)) = graph.waiting.pop() {
            if graph.nodes.len() > MOST_NODES {
                return Err(format!("it has more than {MOST_NODES} subschemas"));
            }
            graph.nodes[index] = graph.read(value)?;
        }
        let (order, chain) = order(&graph.nodes)?;
        let (mut steps, mut levels, mut is_complete) = (Vec::new(), vec![0; graph.nodes.len()], false);
        for depth in 0..MOST_LEVELS {
            let level = level(&graph.nodes, &order, (depth > 0).then_some(&levels));
            is_complete = level.iter().all(|steps| *steps == 0);
            if is_complete || level[0] > ENOUGH {
                break;
            }
            steps.push(steps.last().map_or(level[0], |before| level[0].max(*before)));
            levels = level;
        }
        Ok(Self { steps, is_complete, chain })
    }

    /// What checking the value costs; `None` if that cannot be told.
    pub(super) fn cost(&self, value: &Value) -> Option<Cost> {
        let (units, depth) = size(value);
        let frames = self.chain * (depth + 1);
        if frames > MOST_FRAMES {
            return None;
        }
        let deepest = self.steps.last().filter(|_| self.is_complete);
        let to_decide = self.steps.get(depth).or(deepest)?.saturating_mul(units);
        // Where alternatives meet, each is tried before it is explained, once for every frame.
        Some(Cost { to_decide, to_explain: to_decide.saturating_mul(frames as u64) })
    }
}

/// Values and texts, and how deep they are nested.
fn size(value: &Value) -> (u64, usize) {
    let text = |text: &str| 1 + (text.len() / BYTES_AS_VALUE) as u64;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => (1, 0),
        Value::String(string) => (text(string), 0),
        Value::Array(items) => items
            .iter()
            .map(size)
            .fold((1, 0), |(units, deepest), (more, depth)| (units + more, deepest.max(depth + 1))),
        Value::Object(members) => members.iter().fold((1, 0), |(units, deepest), (name, member)| {
            let (more, depth) = size(member);
            (units + more + text(name), deepest.max(depth + 1))
        }),
    }
}

/// The steps for parts that are one level further down than those of `above`.
fn level(nodes: &[Node], order: &[usize], above: Option<&Vec<u64>>) -> Vec<u64> {
    let mut level = vec![0_u64; nodes.len()];
    for &index in order {
        let node = &nodes[index];
        let below = above.map_or(node.own, |above| {
            let each = node.each.iter().fold(0_u64, |sum, &part| sum.saturating_add(above[part]));
            let either = node.either.iter().map(|&part| above[part]).max().unwrap_or_default();
            each.saturating_add(either)
        });
        let in_place = node.in_place.iter().fold(0_u64, |sum, &other| sum.saturating_add(level[other]));
        level[index] = below.saturating_add(in_place.saturating_mul(node.factor));
    }
    level
}

/// The nodes, each behind those that it hands its value to, and the longest chain of them.
fn order(nodes: &[Node]) -> Result<(Vec<usize>, usize), String> {
    /// The longest chain from a node that was looked at; `None` while it is.
    type Seen = HashMap<usize, Option<usize>>;
    fn visit(
        nodes: &[Node],
        index: usize,
        above: usize,
        seen: &mut Seen,
        order: &mut Vec<usize>,
    ) -> Result<usize, String> {
        match seen.get(&index) {
            Some(Some(chain)) => return Ok(*chain),
            Some(None) => return Err("a reference in it leads back to itself".into()),
            None if above >= LONGEST_CHAIN => {
                return Err(format!("more than {LONGEST_CHAIN} schemas in it apply one by the other"));
            }
            None => {}
        }
        seen.insert(index, None);
        let mut chain = 0;
        for &other in &nodes[index].in_place {
            chain = visit(nodes, other, above + 1, seen, order)?.max(chain);
        }
        seen.insert(index, Some(chain + 1));
        order.push(index);
        Ok(chain + 1)
    }
    let (mut seen, mut sorted, mut longest) = (Seen::new(), Vec::new(), 0);
    for index in 0..nodes.len() {
        longest = visit(nodes, index, 0, &mut seen, &mut sorted)?.max(longest);
    }
    Ok((sorted, longest))
}

// === impl Graph ===

impl<'schema> Graph<'schema> {
    /// Finds what references may go to by name; wherever it stands, since any part may be a schema.
    fn names(&mut self, value: &'schema Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.names(item)),
            Value::Object(members) => {
                for (key, member) in members {
                    match (key.as_str(), member.as_str()) {
                        // Up to draft 7 an anchor is an id that begins with `#`.
                        ("$id" | "id", Some(id)) if id.starts_with('#') => {
                            self.anchors.push((&id[1..], value));
                        }
                        ("$id" | "id", Some(id)) => self.resources.push((last_segment(id), value)),
                        ("$anchor" | "$dynamicAnchor", Some(name)) => self.anchors.push((name, value)),
                        _ => self.names(member),
                    }
                }
            }
            _ => {}
        }
    }

    fn index(&mut self, value: &'schema Value) -> usize {
        let next = self.nodes.len();
        let index = *self.indices.entry(std::ptr::from_ref(value)).or_insert(next);
        if index == next {
            self.nodes.push(Node::default());
            self.waiting.push((index, value));
        }
        index
    }

    fn read(&mut self, value: &'schema Value) -> Result<Node, String> {
        let Value::Object(schema) = value else { return Ok(Node { own: 1, ..Node::default() }) };
        let mut node = Node { own: own(schema), factor: 1, ..Node::default() };
        for (keyword, value) in schema {
            match keyword.as_str() {
                "$ref" | "$dynamicRef" | "$recursiveRef" => {
                    let reference = value.as_str().unwrap_or_default();
                    let targets = self.targets(reference);
                    if targets.is_empty() {
                        let reference = excerpt(reference);
                        return Err(format!("it refers to `{reference}`, which is not in the schema itself"));
                    }
                    node.in_place.extend(targets.into_iter().map(|target| self.index(target)));
                }
                "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "dependentSchemas"
                | "dependencies" => {
                    let is_one = matches!(keyword.as_str(), "not" | "if" | "then" | "else");
                    node.in_place.extend(self.all(value, is_one));
                }
                "properties" | "prefixItems" => node.either.extend(self.all(value, false)),
                "items" if value.is_array() => node.either.extend(self.all(value, false)),
                "patternProperties" => node.each.extend(self.all(value, false)),
                "additionalProperties" | "items" | "additionalItems" | "contains" | "propertyNames" => {
                    node.each.push(self.index(value));
                }
                "unevaluatedProperties" | "unevaluatedItems" => {
                    // They ask everything in place again for what it has looked at.
                    node.factor = 3;
                    node.each.push(self.index(value));
                }
                _ => {}
            }
        }
        Ok(node)
    }

    /// The schemas of a list or a map of them, or the one that it is.
    fn all(&mut self, value: &'schema Value, is_one: bool) -> Vec<usize> {
        match value {
            Value::Array(items) => items.iter().map(|item| self.index(item)).collect(),
            Value::Object(members) if !is_one => {
                let schemas = members.values().filter(|member| member.is_object() || member.is_boolean());
                schemas.map(|member| self.index(member)).collect()
            }
            _ => vec![self.index(value)],
        }
    }

    /// Everything in the document that a reference may mean.
    fn targets(&self, reference: &str) -> Vec<&'schema Value> {
        let (resource, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let wanted = last_segment(resource);
        // Without a name it is meant from the nearest id upwards, which may be any.
        let resources = self.resources.iter().filter(|(name, _)| resource.is_empty() || *name == wanted);
        let mut targets: Vec<&Value> = if fragment.is_empty() || fragment.starts_with('/') {
            let fragment = decoded(fragment);
            resources.filter_map(|(_, value)| value.pointer(&fragment)).collect()
        } else {
            self.anchors.iter().filter(|(name, _)| *name == fragment).map(|(_, value)| *value).collect()
        };
        // A document with an id has two names.
        targets.sort_by_key(|target| std::ptr::from_ref(*target));
        targets.dedup_by_key(|target| std::ptr::from_ref(*target));
        targets
    }
}

/// What a schema costs by itself.
fn own(schema: &Map<String, Value>) -> u64 {
    let length = |keyword: &str| match schema.get(keyword) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(members)) => members.len(),
        _ => 0,
    };
    let lists = length("enum") + length("required") + length("patternProperties");
    let dependent = ["dependentRequired", "dependencies"].iter().filter_map(|keyword| schema.get(*keyword));
    let dependent = dependent.filter_map(Value::as_object).flat_map(Map::values);
    let dependent: usize = dependent.filter_map(Value::as_array).map(|names| names.len() + 1).sum();
    (1 + lists + length("properties").min(LOOKED_UP) + dependent) as u64
}

/// What tells one id from another, wherever they are based.
fn last_segment(id: &str) -> &str {
    let id = id.split_once('#').map_or(id, |(id, _)| id);
    id.rsplit('/').next().unwrap_or_default()
}

/// A fragment without its percent signs (RFC 6901, section 6).
fn decoded(fragment: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), fragment.as_bytes());
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Cost, Effort};
    use serde_json::{Value, json};

    fn cost(schema: &Value, value: &Value) -> Option<Cost> {
        Effort::of(schema).expect("a schema of bounded effort").cost(value)
    }

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |value, _| json!({"a": value}))
    }

    #[test]
    fn plain_schemas_cost_what_their_values_are_long() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
        assert_eq!(cost(&schema, &json!({})), Some(Cost { to_decide: 2, to_explain: 2 }));
        assert_eq!(cost(&schema, &json!({"a": 1})), Some(Cost { to_decide: 6, to_explain: 12 }));
        let tree = json!({"properties": {"a": {"$ref": "#"}}});
        let (one, more) = (cost(&tree, &nested(10)), cost(&tree, &nested(20)));
        assert_eq!(one.map(|cost| cost.to_decide * 41), more.map(|cost| cost.to_decide * 21));
    }

    #[test]
    fn references_that_fork_are_counted_once_for_every_path() {
        let mut schema = json!({"$ref": "#/$defs/a0", "$defs": {"a30": {"type": "string"}}});
        for number in 0..30 {
            let next = json!({"$ref": format!("#/$defs/a{}", number + 1)});
            schema["$defs"][format!("a{number}")] = json!({"allOf": [next, next]});
        }
        assert!(cost(&schema, &json!(1)).is_none_or(|cost| cost.to_decide > 1 << 30));
        let tree = json!({"anyOf": [
            {"properties": {"a": {"$ref": "#"}}}, {"additionalProperties": {"$ref": "#"}, "minProperties": 1},
        ]});
        assert!(cost(&tree, &nested(5)).is_some_and(|cost| cost.to_decide < 5_000));
        assert!(cost(&tree, &nested(60)).is_none_or(|cost| cost.to_decide > 1 << 30));
    }

    #[test]
    fn references_by_name_are_followed_too() {
        for reference in ["#node", "other.json", "https://x.example/other.json#/allOf/0", "#/$defs/%6e"] {
            let schema = json!({"$ref": reference, "$defs": {"n": {
                "$id": "other.json", "$anchor": "node", "allOf": [{"enum": [1, 2, 3, 4, 5, 6, 7, 8]}],
            }}});
            assert!(cost(&schema, &json!(1)).is_some_and(|cost| cost.to_decide > 8), "{reference}");
        }
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}),
        ] {
            assert_eq!(Effort::of(&schema).err().as_deref(), Some("a reference in it leads back to itself"));
        }
        let mut schema = json!({"$ref": "#/$defs/a0", "$defs": {"a100": {}}});
        for number in 0..100 {
            schema["$defs"][format!("a{number}")] = json!({"$ref": format!("#/$defs/a{}", number + 1)});
        }
        assert!(Effort::of(&schema).is_err_and(|reason| reason.contains("one by the other")));
        let many: serde_json::Map<String, Value> =
            (0..6_000).map(|number| (number.to_string(), json!({}))).collect();
        assert!(Effort::of(&json!({"properties": many})).is_err_and(|reason| reason.contains("5000")));
    }

    #[test]
    fn a_value_that_is_too_deep_costs_nobody_knows_what() {
        assert_eq!(cost(&json!({"properties": {"a": {"$ref": "#"}}}), &nested(100)), None);
        // Where the schema does not follow, depth alone is no trouble.
        assert!(cost(&json!({"type": "object"}), &nested(100)).is_some());
    }
}
