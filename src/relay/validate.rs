//! Arguments and results of calls against the schemas of their tools, for aliases whose files ask for it.

use crate::{
    catalog::{
        merge::{Catalog, Row},
        name::Alias,
    },
    relay::{
        Member, Relay,
        schema::Schema,
        settings::{Arguments, Results, Validation},
        violation::Violations,
    },
    wire::{
        message::{Answer, Request, excerpt},
        params::{self, Structured},
        raw::Raw,
    },
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The schemas of all tools whose alias checks something.
pub(super) type Schemas = HashMap<Alias, HashMap<Arc<str>, Arc<ToolSchemas>>>;

/// The schemas of one tool, and what is checked against them.
#[derive(Debug)]
pub(super) struct ToolSchemas {
    alias: Alias,
    tool: Arc<str>,
    rules: Validation,
    definition: Raw,
    /// `None` where there is none, or none that can be used.
    input: Option<Schema>,
    output: Option<Schema>,
    arguments_told: Meter,
    results_told: Meter,
}

/// Lets one line through in a while, and counts the others.
#[derive(Debug, Default)]
struct Meter(Mutex<(Option<Instant>, u64)>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemasOnly<'a> {
    #[serde(borrow, default)]
    input_schema: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_schema: Option<&'a RawValue>,
}

/// How long a tool says nothing more about the same.
const QUIET: Duration = Duration::from_mins(1);
/// How many schemas of one catalog that cannot be used are told one by one.
const MOST_TOLD: usize = 20;

// === impl Relay ===

impl Relay {
    /// The schemas to check calls of this tool against: none, unless its alias asks for it.
    pub(super) fn schemas(&self, member: &Member, row: &Row) -> Option<Arc<ToolSchemas>> {
        if !member.validation.is_on() {
            return None;
        }
        self.0.schemas.load().get(&row.alias)?.get(&*row.native).cloned()
    }

    /// Compiles the schemas of a new catalog, before its first call; those that stayed the same are kept.
    pub(super) fn compile(&self, catalog: &Catalog) {
        let rules = |alias: &Alias| self.0.upstreams.get(alias).map(|member| member.validation);
        let (schemas, unusable) = compile(&self.0.schemas.load(), catalog, rules);
        for line in unusable.iter().take(MOST_TOLD) {
            tracing::warn!("{line}");
        }
        if let Some(more) = unusable.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
            tracing::warn!(more, "there are more schemas that cannot be used");
        }
        self.0.schemas.store(Arc::new(schemas));
    }
}

/// The schemas of a catalog, and what to say of those that cannot be used and were not there before.
fn compile(
    before: &Schemas,
    catalog: &Catalog,
    rules: impl Fn(&Alias) -> Option<Validation>,
) -> (Schemas, Vec<String>) {
    let (mut schemas, mut unusable) = (Schemas::new(), Vec::new());
    for row in &catalog.tools {
        let Some(rules) = rules(&row.alias).filter(|rules| rules.is_on()) else { continue };
        let known = before.get(&row.alias).and_then(|tools| tools.get(&row.native));
        let tool = match known.filter(|known| known.definition == row.own) {
            Some(known) => known.clone(),
            None => Arc::new(ToolSchemas::new(row, rules, &mut unusable)),
        };
        schemas.entry(row.alias.clone()).or_default().insert(row.native.clone(), tool);
    }
    (schemas, unusable)
}

// === impl ToolSchemas ===

impl ToolSchemas {
    fn new(row: &Row, rules: Validation, unusable: &mut Vec<String>) -> Self {
        // A definition without readable schemas was told when it was listed.
        let read = serde_json::from_str(row.own.as_str());
        let read = read.unwrap_or(SchemasOnly { input_schema: None, output_schema: None });
        let mut compile = |name: &str, schema: Option<&RawValue>| {
            let compiled = Schema::compile(&Raw::of(schema?));
            let told = |reason| {
                let native = excerpt(&row.native);
                unusable.push(format!(
                    "the {name} of `{native}` of {} is not used to check calls: {reason}",
                    row.alias
                ));
            };
            compiled.map_err(told).ok()
        };
        let input = (rules.arguments != Arguments::Off).then_some(read.input_schema).flatten();
        let output = (rules.results != Results::Off).then_some(read.output_schema).flatten();
        Self {
            alias: row.alias.clone(),
            tool: row.native.clone(),
            rules,
            definition: row.own.clone(),
            input: compile("inputSchema", input),
            output: compile("outputSchema", output),
            arguments_told: Meter::default(),
            results_told: Meter::default(),
        }
    }

    /// Whether a call of the tool may be made; if not, what to answer in its place. `key` is for the log.
    pub(super) fn check_arguments(&self, request: &Request, key: &str) -> Result<(), Answer> {
        let Some(schema) = &self.input else { return Ok(()) };
        let arguments = request.params().as_ref().and_then(params::arguments);
        let arguments = arguments.unwrap_or_else(|| Raw::of(&json!({})));
        let Err(violations) = schema.check(&arguments) else { return Ok(()) };
        let (alias, tool, places) = (&self.alias, &self.tool, violations.places());
        let is_refused = self.rules.arguments == Arguments::Enforce;
        if let Some(others) = self.arguments_told.let_through() {
            if is_refused {
                let reason = "invalid_arguments";
                tracing::info!(%alias, %tool, key, reason, others, "call refused: its arguments do not meet {places} of the inputSchema");
            } else {
                tracing::warn!(%alias, %tool, key, others, "arguments do not meet {places} of the inputSchema; the call is made");
            }
        }
        if is_refused { Err(refusal(&request.id(), &violations)) } else { Ok(()) }
    }

    /// Says in the log if an answer is not what the tool's definition promises.
    pub(super) fn check_result(&self, answer: &Answer) {
        let Some(schema) = self.output.as_ref().filter(|_| !answer.is_error) else { return };
        let violations = match params::structured(&answer.payload()) {
            None => return,
            Some(Structured::Missing) => Violations::missing(),
            Some(Structured::Found(content)) => match schema.check(&content) {
                Ok(()) => return,
                Err(violations) => violations,
            },
        };
        if let Some(others) = self.results_told.let_through() {
            let (alias, tool, places) = (&self.alias, &self.tool, violations.places());
            tracing::warn!(%alias, %tool, others, "structuredContent does not meet {places} of the outputSchema; it is passed on as it is");
        }
    }
}

/// A tool's error and not the protocol's, so that the model sees it and can correct itself (SEP-1303).
fn refusal(id: &Raw, violations: &Violations) -> Answer {
    let text = format!(
        "The arguments do not fit the inputSchema of this tool, and the call was not made:\n{violations}\nCorrect them and call again."
    );
    Answer::result(id, &Raw::of(&json!({"content": [{"type": "text", "text": text}], "isError": true})))
}

// === impl Meter ===

impl Meter {
    /// How many were held back since the last one, if this one may be told.
    fn let_through(&self) -> Option<u64> {
        // No code that holds the lock can panic.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.0.is_some_and(|last| last.elapsed() < QUIET) {
            told.1 += 1;
            return None;
        }
        told.0 = Some(Instant::now());
        Some(std::mem::take(&mut told.1))
    }
}

#[cfg(test)]
mod tests {
    use super::{Meter, QUIET, Schemas, compile};
    use crate::{
        catalog::{
            listing::{self, Kind, Listing, Mirroring},
            merge::{Catalog, ShowRules, Source, merge},
            name::Alias,
            settings::{NameRules, Show},
        },
        relay::settings::{Arguments, Validation},
        wire::raw::Raw,
    };
    use serde_json::{Value, json};
    use std::{collections::BTreeMap, sync::Arc};

    fn alias() -> Alias {
        Alias::parse("db", &NameRules::default()).expect("an alias")
    }

    fn catalog(tools: &Value) -> Catalog {
        let page = listing::read_page(Kind::Tools, &Raw::of(&json!({"tools": tools})), Mirroring::Unsent)
            .expect("a page");
        let show = Arc::new(ShowRules::new(&Show::default()).expect("globs"));
        let source =
            Source { show, listing: Some(Arc::new(Listing { tools: page.items, ..Listing::default() })) };
        merge(&BTreeMap::from([(alias(), source)]), &NameRules::default())
    }

    #[test]
    fn a_schema_is_compiled_when_it_is_new_and_told_once_if_it_cannot_be_used() {
        let rules = |_: &Alias| Some(Validation { arguments: Arguments::Warn, ..Validation::default() });
        let schema = |kind: &str| json!({"type": kind});
        let tools = json!([
            {"name": "same", "inputSchema": schema("object")},
            {"name": "bad", "inputSchema": schema("objekt")},
            {"name": "new", "inputSchema": schema("object")},
        ]);
        let (before, unusable) = compile(&Schemas::new(), &catalog(&tools), rules);
        insta::assert_snapshot!(unusable.join("\n"), @"the inputSchema of `bad` of db is not used to check calls: at `/type`, the value is not valid under any of the schemas listed in the 'anyOf' keyword");
        let mut changed = tools.clone();
        changed[2]["inputSchema"] = schema("array");
        let (after, unusable) = compile(&before, &catalog(&changed), rules);
        assert!(unusable.is_empty(), "{unusable:?}");
        let is_kept = |name: &str| Arc::ptr_eq(&before[&alias()][name], &after[&alias()][name]);
        assert_eq!(["same", "bad", "new"].map(is_kept), [true, true, false]);
        assert!(after[&alias()]["bad"].input.is_none());
        // Where nothing is checked, nothing is compiled.
        assert!(compile(&after, &catalog(&changed), |_| Some(Validation::default())).0.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_line_is_let_through_in_a_while() {
        let meter = Meter::default();
        assert_eq!([(); 3].map(|()| meter.let_through()), [Some(0), None, None]);
        tokio::time::advance(QUIET / 2).await;
        assert_eq!(meter.let_through(), None);
        tokio::time::advance(QUIET / 2).await;
        assert_eq!([(); 2].map(|()| meter.let_through()), [Some(3), None]);
    }
}
