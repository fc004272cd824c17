//! Skills (SEP-2640) of several upstreams: one list, and each leads back to where it is.

use crate::kit::{
    exchange::Exchange,
    gateway::{Running, Setup},
    upstream::{Dialect, Fake, Script},
    visitor::Visitor,
};
use rstest::rstest;
use serde_json::{Value, json};

fn skill(name: &str) -> Value {
    let uri = format!("skill://{name}/SKILL.md");
    let file = json!({"uri": uri, "digest": format!("sha256:{}", "0".repeat(64)), "size": 7});
    json!({"uri": uri, "frontmatter": {"name": name, "description": "d"}, "resources": [file]})
}

const CAPABILITIES: &str =
    r#"{"tools":{},"resources":{},"extensions":{"io.modelcontextprotocol/skills":{"directoryRead":true}}}"#;

/// Answers as an upstream that has two pages of skills, both of one name with another.
fn serve(fake: &Fake, name: &'static str) {
    fake.on("skills/list", move |exchange: Exchange| async move {
        let second = exchange.seen.json()["params"].get("cursor") == Some(&json!("more"));
        let page = if second {
            json!({"resultType": "complete", "ttlMs": 9, "cacheScope": "public", "skills": [skill(name)]})
        } else {
            json!({"resultType": "complete", "ttlMs": 9, "cacheScope": "public", "skills": [skill("same")], "nextCursor": "more"})
        };
        exchange.result(&page.to_string()).await
    });
    fake.on("skills/get", |exchange: Exchange| async move {
        let uri = exchange.seen.json()["params"]["uri"].as_str().expect("a URI").to_owned();
        let name = uri.trim_start_matches("skill://").trim_end_matches("/SKILL.md").to_owned();
        let result =
            json!({"resultType": "complete", "ttlMs": 9, "cacheScope": "public", "skill": skill(&name)});
        exchange.result(&result.to_string()).await
    });
    fake.on("resources/directory/read", |exchange: Exchange| async move {
        let uri = exchange.seen.json()["params"]["uri"].as_str().expect("a URI").to_owned();
        let child = json!({"uri": format!("{uri}/SKILL.md"), "name": "SKILL.md"});
        exchange.result(&json!({"resultType": "complete", "resources": [child]}).to_string()).await
    });
}

fn skilled(name: &'static str) -> Fake {
    let capabilities = serde_json::from_str(CAPABILITIES).expect("JSON");
    let fake = Fake::stateless(name, &capabilities, |_| ());
    serve(&fake, name);
    fake
}

/// Two with skills, the second one of the other era, and one without.
async fn start() -> (Fake, Fake, Running) {
    let db = skilled("db");
    let mut old = Script::new(Dialect::Events);
    old.capabilities = CAPABILITIES;
    let web = old.start();
    serve(&web, "web");
    let plain = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &db).alias("plain", &plain).alias("web", &web).master("m");
    let gateway = gateway.key("dora", Some(&["db", "plain"]), None).key("zoe", Some(&["plain"]), None);
    (db, web, gateway.ready().await)
}

/// The URIs of all skills, page by page.
async fn list(visitor: &Visitor<'_>) -> Vec<String> {
    let (mut uris, mut params) = (Vec::new(), json!({}));
    loop {
        let page = visitor.result("skills/list", &params).await;
        assert_eq!(
            (&page["resultType"], &page["cacheScope"]),
            (&json!("complete"), &json!("private")),
            "{page}"
        );
        assert!(page["ttlMs"].is_u64());
        for skill in page["skills"].as_array().expect("skills") {
            assert_eq!(skill["resources"][0]["uri"], skill["uri"], "files lead back as well");
            uris.push(skill["uri"].as_str().expect("a URI").to_owned());
        }
        let Some(cursor) = page.get("nextCursor") else { return uris };
        params = json!({"cursor": cursor});
    }
}

#[tokio::test]
async fn the_skills_of_all_upstreams_are_one_list() {
    let (db, web, gateway) = start().await;
    let all = Visitor::new(&gateway, "/mcp").key("m");
    let found = all.result("server/discover", &json!({})).await;
    let offered = &found["capabilities"]["extensions"]["io.modelcontextprotocol/skills"];
    assert_eq!(offered, &json!({"directoryRead": true}));
    let of_db = ["skill://db/same/SKILL.md", "skill://db/db/SKILL.md"];
    let of_web = ["skill://web/same/SKILL.md", "skill://web/web/SKILL.md"];
    assert_eq!(list(&all).await, [of_db, of_web].concat());
    assert_eq!(list(&Visitor::new(&gateway, "/mcp").key("dora")).await, of_db);
    // Who cannot be asked hides nobody else's.
    db.on("skills/list", |exchange: Exchange| async move { exchange.respond(500, &[], b"").await });
    assert_eq!(list(&all).await, of_web);
    web.on("skills/list", |exchange: Exchange| async move { exchange.respond(500, &[], b"").await });
    assert!(list(&all).await.is_empty());
    assert_eq!(all.refused("skills/list", &json!({"cursor": "none of ours"})).await, -32602);
}

#[rstest]
#[case("db")]
#[case("web")]
#[tokio::test]
async fn a_skill_is_asked_for_where_it_is(#[case] alias: &str) {
    let (db, web, gateway) = start().await;
    let fake = if alias == "db" { &db } else { &web };
    let all = Visitor::new(&gateway, "/mcp").key("m");
    let uri = format!("skill://{alias}/same/SKILL.md");
    let got = all.result("skills/get", &json!({"uri": uri})).await;
    assert_eq!((&got["skill"]["uri"], &got["skill"]["resources"][0]["uri"]), (&json!(uri), &json!(uri)));
    assert_eq!((&got["cacheScope"], got["ttlMs"].is_u64()), (&json!("private"), true), "a key decides");
    assert_eq!(fake.wait_for("skills/get", 1).await.json()["params"]["uri"], "skill://same/SKILL.md");
    let inside =
        all.result("resources/directory/read", &json!({"uri": format!("skill://{alias}/same")})).await;
    assert_eq!(inside["resources"][0]["uri"], uri);
    let read = all.result("resources/read", &json!({"uri": uri})).await;
    assert_eq!(read["contents"][0]["uri"], uri);
    assert_eq!(fake.wait_for("resources/read", 1).await.json()["params"]["uri"], "skill://same/SKILL.md");
}

#[tokio::test]
async fn what_is_not_there_or_not_seen_is_refused_alike() {
    let (db, web, gateway) = start().await;
    let dora = Visitor::new(&gateway, "/mcp").key("dora");
    for uri in ["skill://web/same/SKILL.md", "skill://nobody/same/SKILL.md", "skill://plain/x/SKILL.md", "x"]
    {
        assert_eq!(dora.refused("skills/get", &json!({"uri": uri})).await, -32602, "{uri}");
        assert_eq!(dora.refused("resources/directory/read", &json!({"uri": uri})).await, -32602, "{uri}");
    }
    let zoe = Visitor::new(&gateway, "/mcp").key("zoe");
    let found = zoe.result("server/discover", &json!({})).await;
    assert_eq!(found["capabilities"].get("extensions"), None, "nobody whom zoe sees has any: {found}");
    for method in ["skills/list", "skills/get", "resources/directory/read"] {
        let refused = zoe.reply(method, &json!({"uri": "skill://db/same/SKILL.md"})).await;
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (404, &json!(-32601)));
    }
    assert!(db.seen_of("skills/get").is_empty() && web.seen_of("skills/get").is_empty());
}

#[tokio::test]
async fn on_an_alias_of_its_own_skills_are_as_the_upstream_says() {
    let (db, _web, gateway) = start().await;
    let own = Visitor::new(&gateway, "/mcp/db").key("m");
    let page = own.result("skills/list", &json!({})).await;
    assert_eq!((&page["skills"], &page["nextCursor"]), (&json!([skill("same")]), &json!("more")));
    assert_eq!((&page["ttlMs"], &page["cacheScope"]), (&json!(9), &json!("private")));
    let next = own.result("skills/list", &json!({"cursor": "more"})).await;
    assert_eq!(next["skills"], json!([skill("db")]));
    let got = own.result("skills/get", &json!({"uri": "skill://same/SKILL.md"})).await;
    assert_eq!(got["skill"], skill("same"));
    assert_eq!(db.wait_for("skills/get", 1).await.json()["params"]["uri"], "skill://same/SKILL.md");
}
