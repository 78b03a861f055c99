//! Lists and watches.

use std::time::Duration;

use apiserver::Sequencing;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;

use super::{client, server, tick};

async fn put(maps: &Api<ConfigMap>, name: &str, label: &str) -> ConfigMap {
    let patch = json!({"metadata": {"labels": {"l": label}}});
    if maps.get_opt(name).await.expect("read").is_some() {
        return maps.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("patched");
    }
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {"l": label}}})).expect("map");
    maps.create(&PostParams::default(), &map).await.expect("created")
}

/// Reads what a watch sends until it ends.
async fn seen(maps: &Api<ConfigMap>, params: &WatchParams, from: &str) -> Vec<String> {
    let stream = maps.watch(params, from).await.expect("watch").boxed();
    let events: Vec<WatchEvent<ConfigMap>> = stream.try_collect().await.expect("events");
    events
        .into_iter()
        .map(|event| match event {
            WatchEvent::Added(map) => format!("+{}", map.metadata.name.unwrap_or_default()),
            WatchEvent::Modified(map) => format!("~{}", map.metadata.name.unwrap_or_default()),
            WatchEvent::Deleted(map) => format!("-{}", map.metadata.name.unwrap_or_default()),
            WatchEvent::Bookmark(_) => "bookmark".to_owned(),
            WatchEvent::Error(status) => format!("{} {}: {}", status.code, status.reason, status.message),
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_a_list_ended_and_ends_in_time() {
    let server = server(tick());
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    put(&maps, "a", "1").await;
    let from =
        maps.list(&ListParams::default()).await.expect("list").metadata.resource_version.expect("version");
    put(&maps, "a", "2").await;
    put(&maps, "b", "1").await;
    maps.delete("a", &DeleteParams::default()).await.expect("deleted");
    let begin = tokio::time::Instant::now();
    let params = WatchParams::default().timeout(40).disable_bookmarks();
    assert_eq!(seen(&maps, &params, &from).await, ["~a", "+b", "-a"]);
    assert_eq!(begin.elapsed().as_secs(), 40);
    // An object enters and leaves a selection by a change of its labels.
    let version =
        maps.list(&ListParams::default()).await.expect("list").metadata.resource_version.expect("version");
    put(&maps, "b", "x").await;
    put(&maps, "b", "y").await;
    put(&maps, "b", "z").await;
    let chosen = params.clone().labels("l in (x, y)");
    assert_eq!(seen(&maps, &chosen, &version).await, ["+b", "~b", "-b"]);
    let with_bookmarks = WatchParams::default().timeout(100);
    // Bookmarks come at the same instants for all watches, whenever it began.
    let marks = ["~b", "~b", "~b", "bookmark", "bookmark", "bookmark"];
    assert_eq!(seen(&maps, &with_bookmarks, &version).await, marks);
}

#[tokio::test(start_paused = true)]
async fn an_old_version_is_gone_after_compaction() {
    let server = server(Sequencing::Immediate);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    let first = put(&maps, "a", "1").await.metadata.resource_version.expect("version");
    put(&maps, "a", "2").await;
    let params = WatchParams::default().timeout(5).disable_bookmarks();
    assert_eq!(seen(&maps, &params, &first).await, ["~a"]);
    server.compact();
    let events = seen(&maps, &params, &first).await;
    assert_eq!(events.len(), 1);
    assert!(events[0].starts_with("410 Expired: too old resource version: "), "{events:?}");
    // Automatic compaction: the test's history holds 64 events.
    let from = put(&maps, "a", "3").await.metadata.resource_version.expect("version");
    for n in 0..80 {
        put(&maps, "a", &format!("n{n}")).await;
    }
    assert!(seen(&maps, &params, &from).await[0].starts_with("410 Expired"));
}

#[tokio::test(start_paused = true)]
async fn events_are_forgotten_when_they_are_old() {
    let server = server(Sequencing::Immediate);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    let first = put(&maps, "a", "1").await.metadata.resource_version.expect("version");
    put(&maps, "a", "2").await;
    let params = WatchParams::default().timeout(5).disable_bookmarks();
    tokio::time::advance(Duration::from_mins(59)).await;
    let second = put(&maps, "a", "3").await.metadata.resource_version.expect("version");
    assert_eq!(seen(&maps, &params, &first).await, ["~a", "~a"]);
    // The test's history holds an hour; the next change sweeps, and spares what is younger.
    tokio::time::advance(Duration::from_mins(2)).await;
    put(&maps, "a", "4").await;
    assert!(seen(&maps, &params, &first).await[0].starts_with("410 Expired"));
    assert_eq!(seen(&maps, &params, &second).await, ["~a"]);
}

#[tokio::test(start_paused = true)]
async fn a_stock_watcher_recovers_from_compaction() {
    let server = server(tick());
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    put(&maps, "a", "1").await;
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut stream = Box::pin(watcher(maps.clone(), config));
        let mut listed = Vec::new();
        loop {
            match stream.next().await.expect("stream").expect("event") {
                Event::InitApply(map) => listed.push(map.metadata.name.expect("name")),
                Event::InitDone => break,
                _ => {}
            }
        }
        assert!(listed.contains(&"a".to_owned()));
        server.compact();
        put(&maps, "a", "changed").await;
        put(&maps, "a", "back").await;
        let event = tokio::time::timeout(Duration::from_mins(10), stream.next()).await.expect("in time");
        assert!(matches!(event, Some(Ok(Event::Apply(_)))), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_show_one_moment() {
    let server = server(Sequencing::Immediate);
    let maps: Api<ConfigMap> = Api::namespaced(client(&server, "one"), "kube-public");
    for name in ["a", "b", "c"] {
        put(&maps, name, "1").await;
    }
    let page = ListParams::default().limit(2);
    let first = maps.list(&page).await.expect("page");
    let names = |items: Vec<ConfigMap>| -> Vec<String> {
        items.into_iter().filter_map(|map| map.metadata.name).collect()
    };
    assert_eq!(first.metadata.remaining_item_count, Some(2));
    let token = first.metadata.continue_.clone().expect("token");
    assert_eq!(names(first.items), ["a", "b"]);
    // What happens between the pages does not show.
    maps.delete("c", &DeleteParams::default()).await.expect("deleted");
    put(&maps, "d", "1").await;
    let second = maps.list(&page.clone().continue_token(&token)).await.expect("page");
    assert_eq!(names(second.items), ["c", "kube-root-ca.crt"]);
    server.compact();
    put(&maps, "e", "1").await;
    let failure = maps.list(&page.clone().continue_token(&token)).await.expect_err("too old");
    assert!(
        matches!(&failure, kube::Error::Api(status) if status.code == 410 && status.reason == "Expired"),
        "{failure:?}"
    );
}
