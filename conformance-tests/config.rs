//! Configuration files as people write them, good and broken: every message they get is a snapshot here.

use proptest::prelude::{ProptestConfig, prop, proptest};
use rstest::rstest;
use secrecy::ExposeSecret;
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
    thread::sleep,
    time::Duration,
};
use trunkline::{
    catalog,
    config::{Config, Environment, Findings, Overrides, load, load_from, schemas},
    front,
    protocol::seal::Seal,
    session, telemetry, upstream,
};

const FOLDER: &str = "conformance-tests/config";

/// The variables that the fixtures use.
fn environment() -> Environment {
    [
        ("ONE", "value-of-one"),
        ("TWICE", "value-of-twice"),
        ("EMPTY", ""),
        ("LENGTH", "50"),
        ("NO_FILE_FILE", "no/such/file"),
        ("FROM_FILE_FILE", "conformance-tests/config/good/secret.txt"),
    ]
    .into_iter()
    .collect()
}

fn load_file(name: &str) -> Result<Config, Findings> {
    load(Some(&Path::new(FOLDER).join(name)), &Overrides::default(), &environment())
}

/// What a person sees of a broken configuration.
fn messages(result: Result<Config, Findings>) -> String {
    let findings = result.expect_err("a broken configuration");
    format!("{findings}\n{}", findings.notices.join("\n"))
}

#[rstest]
#[case("shapes")]
#[case("secrets")]
#[case("keyless")]
#[case("star")]
#[case("not-yaml")]
#[case("list")]
#[case("tag")]
#[case("mixed")]
#[case("litellm")]
#[case("commands")]
#[case("folder/trunkline")]
#[case("missing-folder")]
#[case("no-such-file")]
fn broken_files_say_everything_at_once(#[case] name: &str) {
    let said = messages(load_file(&format!("broken/{name}.yaml")));
    for secret in ["hunter2", "value-of-one", "value-of-twice", "one-key-of-many", "spaces-are-secret"] {
        assert!(!said.contains(secret), "{secret} is in\n{said}");
    }
    insta::with_settings!({ snapshot_path => "config/snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(format!("broken-{}", name.replace('/', "-")), said);
    });
}

#[rstest]
#[case("everything")]
#[case("litellm")]
#[case("merge")]
fn good_files_load(#[case] name: &str) {
    let config = load_file(&format!("good/{name}.yaml")).expect("a good configuration");
    insta::with_settings!({ snapshot_path => "config/snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(format!("good-{name}"), format!("{config:#?}"));
    });
}

fn plan(variables: &[(&str, &str)]) -> Result<Config, Findings> {
    let environment = variables.iter().copied().collect();
    load(Some(&Path::new(FOLDER).join("plan.yaml")), &Overrides::default(), &environment)
}

#[test]
fn the_plan_loads_as_it_is_written() {
    let config = plan(&[("LITELLM_MASTER_KEY", "sk-master"), ("LITELLM_DATABASE_URL", "postgresql://db")])
        .expect("the plan's file");
    let aliases: Vec<String> = config
        .aliases
        .iter()
        .map(|alias| format!("{} {}", alias.alias, alias.upstream.target.url().expect("an address")))
        .collect();
    assert_eq!(
        aliases,
        [
            "automation http://mcp-n8n:8000/sse",
            "browser http://mcp-playwright:8000/sse",
            "db http://mcp-postgresql:8000/sse",
            "storage http://mcp-minio:8000/sse",
            "timescale http://mcp-timescaledb:8000/sse",
        ]
    );
    let keys: Vec<&str> = config.policy.keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(keys, ["lan-admin", "claude-code-cli", "open-webui"]);
    assert_eq!(config.policy.keys[0].secret.expose_secret(), "lan-admin-key-2024");
    assert_eq!(config.policy.master.expect("a master key").expose_secret(), "sk-master");
    assert_eq!(config.listen, ("0.0.0.0".to_owned(), 4000));
    insta::with_settings!({ snapshot_path => "config/snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("plan-notices", config.notices.join("\n"));
    });
}

#[test]
fn the_plan_without_its_variables_is_refused_for_the_secret_alone() {
    insta::with_settings!({ snapshot_path => "config/snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("plan-unset", messages(plan(&[])));
    });
    messages(plan(&[("LITELLM_MASTER_KEY", "")]));
}

#[test]
fn a_secret_may_come_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, "from-a-file\n").expect("to write");
    let path = secret.to_str().expect("a path");
    let config = plan(&[("LITELLM_MASTER_KEY_FILE", path)]).expect("the plan's file");
    assert_eq!(config.policy.master.expect("a master key").expose_secret(), "from-a-file");
}

#[test]
fn a_state_key_lets_nobody_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "listen: 0.0.0.0:4000\nstate_key: short\nlimits: {parked_per_key: many}\n";
    fs::write(folder.path().join("trunkline.yaml"), text).expect("to write");
    let said = messages(load_from(folder.path(), None, &Overrides::default(), &Environment::default()));
    assert!(said.contains("which the network can reach, and no key") && said.contains("32 bytes"), "{said}");
}

#[rstest]
#[case::nothing("", "", Ok(None))]
#[case::written(
    "state_key: 0123456789abcdef0123456789abcdef",
    "",
    Ok(Some("0123456789abcdef0123456789abcdef"))
)]
#[case::variable(
    "",
    "from-a-variable-with-thirty-two-bytes",
    Ok(Some("from-a-variable-with-thirty-two-bytes"))
)]
#[case::file_first(
    "state_key: the-file-says-more-than-thirty-two",
    "x",
    Ok(Some("the-file-says-more-than-thirty-two"))
)]
#[case::not_wanted("state_key: ${NO:-}", "", Ok(None))]
#[case::one_byte_less(
    "state_key: 0123456789abcdef0123456789abcde",
    "",
    Err("found a secret of 31 bytes; expected a secret of 32 bytes or more")
)]
#[case::short_variable(
    "",
    "short",
    Err("TRUNKLINE_STATE_KEY: found a secret of 5 bytes; expected a secret of 32 bytes or more")
)]
#[case::empty("state_key: ''", "", Err("a secret that is not empty"))]
#[case::no_braces("state_key: $THE_KEY_OF_ALL_GATEWAYS_BEHIND_ONE_ADDRESS", "", Err("without braces"))]
fn the_key_of_sealed_texts(
    #[case] file: &str,
    #[case] variable: &str,
    #[case] expected: Result<Option<&str>, &str>,
) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("trunkline.yaml"), file).expect("to write");
    let variables = [("TRUNKLINE_STATE_KEY", variable)];
    let environment = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let loaded = load_from(folder.path(), None, &Overrides::default(), &environment);
    match expected {
        Ok(expected) => {
            let key = loaded.expect("a configuration").state_key;
            assert_eq!(key.as_ref().map(ExposeSecret::expose_secret), expected);
            Seal::new(key.as_ref()).expect("what is taken here is long enough");
        }
        Err(expected) => {
            let said = messages(loaded);
            assert!(said.contains(expected), "{said}");
        }
    }
}

#[rstest]
#[case::nothing(None, &[], ("127.0.0.1", 4000))]
#[case::variables(None, &[("LITELLM_HOST", "0.0.0.0"), ("LITELLM_PORT", "5000"), ("TRUNKLINE_MASTER_KEY", "k")], ("0.0.0.0", 5000))]
#[case::file_first(Some("listen: localhost:1"), &[("LITELLM_HOST", "0.0.0.0"), ("LITELLM_PORT", "5000")], ("localhost", 1))]
#[case::keys_in_the_environment(Some("listen: 0.0.0.0:1"), &[("LITELLM_MASTER_KEY", "k")], ("0.0.0.0", 1))]
#[case::litellm_without_keys(Some("mcp_servers: {}"), &[], ("127.0.0.1", 4000))]
#[case::litellm_with_keys(Some("mcp_servers: {}"), &[("LITELLM_MASTER_KEY", "k")], ("0.0.0.0", 4000))]
fn where_to_listen(
    #[case] file: Option<&str>,
    #[case] variables: &[(&str, &str)],
    #[case] expected: (&str, u16),
) {
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(text) = file {
        fs::write(folder.path().join("trunkline.yaml"), text).expect("to write");
    }
    let environment = variables.iter().copied().collect();
    let config =
        load_from(folder.path(), None, &Overrides::default(), &environment).expect("a configuration");
    assert_eq!(config.listen, (expected.0.to_owned(), expected.1));
    let overrides = Overrides { host: Some("127.0.0.9".into()), port: Some(9), debug: false };
    let config = load_from(folder.path(), None, &overrides, &environment).expect("a configuration");
    assert_eq!(config.listen, ("127.0.0.9".to_owned(), 9));
}

#[test]
fn the_command_line_cannot_open_a_gateway_without_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let overrides = Overrides { host: Some("0.0.0.0".into()), ..Overrides::default() };
    let result = load_from(folder.path(), None, &overrides, &Environment::default());
    insta::assert_snapshot!(messages(result).trim(), @"
    the configuration has 1 mistake:
      command line: --host: found `0.0.0.0`, which the network can reach, and no key; expected a key, or a loopback address such as 127.0.0.1
        hint: set master_key in the file, or TRUNKLINE_MASTER_KEY in the environment
    ");
}

#[rstest]
#[case::nothing("")]
#[case::comments("# only a comment\n")]
#[case::keys_without_values("listen:\nkeys:\nmaster_key: ~\nlimits:\n  body:\n")]
fn files_that_say_nothing_are_defaults(#[case] text: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("trunkline.yaml"), text).expect("to write");
    let config = load_from(folder.path(), None, &Overrides::default(), &Environment::default());
    assert_eq!(config.expect("a configuration").listen, ("127.0.0.1".to_owned(), 4000));
}

/// The program, without the variables of whoever runs the tests.
fn program(words: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.args(words).env_clear().envs(variables.iter().copied());
    command
}

fn output(words: &[&str], variables: &[(&str, &str)]) -> Output {
    program(words, variables).output().expect("the program runs")
}

#[test]
fn check_tells_by_its_exit_code() {
    let plan = [("LITELLM_MASTER_KEY", "sk-master"), ("LITELLM_DATABASE_URL", "postgresql://db")];
    let good = output(&["check", "--config", "conformance-tests/config/plan.yaml"], &plan);
    assert_eq!(good.status.code(), Some(0));
    let said = String::from_utf8(good.stdout).expect("text");
    insta::with_settings!({ snapshot_path => "config/snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("check-plan", said);
    });
    assert!(!said.contains("sk-master") && !said.contains("lan-admin-key-2024"), "{said}");
    let broken = output(&["check", "--config", "conformance-tests/config/broken/keyless.yaml"], &[]);
    assert_eq!(broken.status.code(), Some(1));
    assert_eq!(output(&["check", "--nonsense"], &[]).status.code(), Some(2));
    assert_eq!(
        output(&["serve", "--config", "conformance-tests/config/plan.yaml"], &[]).status.code(),
        Some(1)
    );
}

#[test]
fn the_plans_container_command_boots() {
    let free =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let port = free.port().to_string();
    let variables = [
        ("LITELLM_MASTER_KEY", "sk-master"),
        ("LITELLM_DATABASE_URL", "postgresql://db"),
        ("LITELLM_HOST", "127.0.0.1"),
        ("LITELLM_PORT", &*port),
    ];
    let config = "conformance-tests/config/plan.yaml";
    let mut gateway =
        program(&["--config", config, "--detailed_debug"], &variables).spawn().expect("the program runs");
    let is_well = (0..100).any(|_| {
        sleep(Duration::from_millis(100));
        output(&["healthcheck", "--config", config], &variables).status.success()
    });
    let tools = output(&["tools", "--config", config], &variables);
    let stranger = output(&["tools", "--config", config, "--key", "wrong"], &variables);
    gateway.kill().expect("to end it");
    gateway.wait().expect("to end it");
    assert!(is_well);
    assert!(tools.status.success(), "{}", String::from_utf8_lossy(&tools.stderr));
    assert_eq!(stranger.status.code(), Some(2));
    assert!(!output(&["healthcheck", "--config", config], &variables).status.success());
}

#[test]
fn the_schemas_are_up_to_date() {
    for (name, schema) in schemas() {
        let path = Path::new("schemas").join(name);
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).expect("a schema is JSON"));
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(&path, &text).expect("to write");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "{} is out of date: run this test with UPDATE_SCHEMAS=1", path.display());
    }
}

#[test]
fn the_shipped_aliases_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let aliases = std::env::current_dir().expect("a folder").join("aliases");
    if !aliases.is_dir() {
        return;
    }
    let text = format!("aliases: {}\n", aliases.display());
    fs::write(folder.path().join("trunkline.yaml"), text).expect("to write");
    let config = load_from(folder.path(), None, &Overrides::default(), &Environment::default());
    let config = config.unwrap_or_else(|findings| panic!("{findings}"));
    let count = fs::read_dir(&aliases).expect("a folder").count();
    assert_eq!(config.aliases.len(), count, "{:?}", config.notices);
}

/// The example of the main file names every limit and time with its default.
fn shows_the_defaults(config: &Config) {
    let (front, default) = (&config.front, front::settings::Settings::default());
    assert_eq!(config.session, session::settings::Settings::default());
    assert_eq!(config.names, catalog::settings::NameRules::default());
    assert_eq!(config.log, telemetry::logs::Settings::default());
    assert_eq!(config.aliases[0].upstream.timeouts, upstream::settings::Timeouts::default());
    assert_eq!(
        (front.body_limit, front.max_batch, front.max_connections),
        (default.body_limit, default.max_batch, default.max_connections)
    );
    assert_eq!(
        [front.header_timeout, front.body_timeout, front.keep_alive, front.stream_after, front.drain],
        [
            default.header_timeout,
            default.body_timeout,
            default.keep_alive,
            default.stream_after,
            default.drain
        ]
    );
}

#[test]
fn every_example_in_the_documentation_loads() {
    let text = fs::read_to_string("docs/CONFIG.md").expect("the documentation");
    let environment: Environment = [
        ("TRUNKLINE_MASTER_KEY", "master"),
        ("LITELLM_MASTER_KEY", "master"),
        ("ALICE_KEY", "alice"),
        ("CI_KEY", "ci"),
        ("N8N_TOKEN", "token"),
    ]
    .into_iter()
    .collect();
    let mut count = 0;
    for example in text.split("```yaml\n").skip(1) {
        let (example, _) = example.split_once("```").expect("an end");
        let (name, body) = example.split_once('\n').expect("a first line with the file's name");
        let name = name.trim_start_matches("# ").split_whitespace().next().expect("a name");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        fs::create_dir(folder.path().join("aliases")).expect("to make a folder");
        fs::write(&path, body).expect("to write");
        let main = Some(path.as_path()).filter(|_| !name.starts_with("aliases/"));
        let loaded = load_from(folder.path(), main, &Overrides::default(), &environment);
        let config = loaded.unwrap_or_else(|findings| panic!("{name}: {findings}"));
        assert!(!name.starts_with("aliases/") || config.aliases.len() == 1, "{name}");
        if name == "trunkline.yaml" {
            shows_the_defaults(&config);
        }
        count += 1;
    }
    assert!(count >= 4, "{count} examples");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a file has in it, loading it ends in a configuration or in findings.
    #[test]
    fn loading_never_panics(
        lines in prop::collection::vec(
            "(  ){0,2}(- )?(listen|keys|key|upstreams|db|url|auth|bearer|limits|mcp_servers|virtual_keys|api_key|x)(: ?)(\\{a: b\\}|\\[1, c\\]|\\$\\{X\\}|1|text|http://h/|~)?",
            0..12,
        ),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("trunkline.yaml"), lines.join("\n")).expect("to write");
        let _ = load_from(folder.path(), None, &Overrides::default(), &environment());
    }
}
