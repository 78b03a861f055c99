//! From path and method to a verb.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::{BufMut as _, BytesMut};
use http::Method;
use json::{Value, json};

use crate::direct::Patch;
use crate::failure::{Cause, Failure};
use crate::request::{Answer, Query, Request, unescape};
use crate::resource::Resource;
use crate::selector::Selector;
use crate::server::ApiServer;
use crate::shape::{PartialObject, Rows, Shape, plain};
use crate::state::State;
use crate::store::{Change, Key, Stored};
use crate::verbs::Deleted;
use crate::watch::{Item, Terms, WatchBody};
use crate::{access, convert, discovery, openapi, subresource, table};

/// Where a request points.
#[derive(Debug)]
pub(crate) struct Target {
    pub resource: Arc<Resource>,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
}

impl ApiServer {
    /// Answers a request now.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        match self.try_answer(request) {
            Ok(answer) => answer,
            Err(failure) => {
                tracing::debug!(caller = request.caller, method = %request.method, path = request.path, code = failure.code, message = failure.message, "refused");
                failure.into()
            }
        }
    }

    fn try_answer(&self, request: &Request) -> Result<Answer, Failure> {
        let parts: Vec<String> = request
            .path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| unescape(part, false))
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let query = Query::parse(&request.query);
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            ["openapi", rest @ ..] => return openapi::answer(&self.lock().registry, rest, &request.accept),
            other => return discovery::answer(&self.lock().registry, other, &request.accept),
        };
        let target = {
            let state = self.lock();
            locate(&state, group, version, rest)?
        };
        if target.resource.is_review {
            return review(request, &target);
        }
        if !target.subresource.is_empty() && target.subresource != "status" {
            return subresource::answer(self, request, &query, &target);
        }
        if target.subresource == "status" && !target.resource.has_status {
            return Err(Failure::no_such_path());
        }
        match (&request.method, target.name.is_empty()) {
            (&Method::GET, true) if query.flag("watch") => self.watch(request, &query, &target),
            (&Method::GET, true) => self.list(request, &query, &target),
            (&Method::GET, false) => {
                let state = self.lock();
                let stored = state.get(&target.resource, &target.namespace, &target.name)?;
                Ok(self.one(request, &query, &target.resource, &stored, 200))
            }
            (&Method::POST, true) => {
                let mut call = request.call(&query)?;
                let object = request.value()?;
                let stored = self.lock().create(&mut call, &target.resource, &target.namespace, object)?;
                Ok(self.one(request, &query, &target.resource, &stored, 201).warning(call.warnings))
            }
            (&Method::PUT, false) => self.put(request, &query, &target),
            (&Method::PATCH, false) => self.patch(request, &query, &target),
            (&Method::DELETE, false) => self.delete(request, &query, &target),
            (&Method::DELETE, true) => self.delete_collection(request, &query, &target),
            _ => Err(Failure::method_not_allowed()),
        }
    }

    fn put(&self, request: &Request, query: &Query, target: &Target) -> Result<Answer, Failure> {
        let mut call = request.call(query)?;
        let object = request.value()?;
        let at = (target.namespace.as_str(), target.name.as_str());
        let stored = self.lock().update(&mut call, &target.resource, at, &target.subresource, object)?;
        Ok(self.one(request, query, &target.resource, &stored, 200).warning(call.warnings))
    }

    fn patch(&self, request: &Request, query: &Query, target: &Target) -> Result<Answer, Failure> {
        let mut call = request.call(query)?;
        let patch = read_patch(request, query)?;
        let at = (target.namespace.as_str(), target.name.as_str());
        let mut state = self.lock();
        let is_new = state.get(&target.resource, at.0, at.1).is_err();
        let stored = state.patch(&mut call, &target.resource, at, &target.subresource, patch)?;
        drop(state);
        let code = if is_new { 201 } else { 200 };
        Ok(self.one(request, query, &target.resource, &stored, code).warning(call.warnings))
    }

    fn delete(&self, request: &Request, query: &Query, target: &Target) -> Result<Answer, Failure> {
        let mut call = request.call(query)?;
        let options = request.delete_options(query)?;
        call.dry_run = options.dry_run;
        let resource = &target.resource;
        let deleted = self.lock().delete(&mut call, resource, (&target.namespace, &target.name), &options)?;
        let answer = match deleted {
            Deleted::Gone(stored) if !resource.returns_deleted => {
                let mut details =
                    json!({"name": target.name, "kind": resource.plural, "uid": access::uid(&stored.value)});
                if !resource.group.is_empty() {
                    details["group"] = json!(resource.group);
                }
                Answer::json(
                    200,
                    &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
                )
            }
            Deleted::Gone(stored) | Deleted::Marked(stored) => {
                self.one(request, query, resource, &stored, 200)
            }
        };
        Ok(answer.warning(call.warnings))
    }

    fn delete_collection(
        &self,
        request: &Request,
        query: &Query,
        target: &Target,
    ) -> Result<Answer, Failure> {
        let mut call = request.call(query)?;
        let options = request.delete_options(query)?;
        call.dry_run = options.dry_run;
        let selector = Selector::parse(
            &target.resource,
            &target.namespace,
            query.get("labelSelector"),
            query.get("fieldSelector"),
        )?;
        if target.namespace.is_empty() && target.resource.namespaced {
            return Err(Failure::method_not_allowed());
        }
        let mut state = self.lock();
        let deleted = state.delete_collection(&mut call, &target.resource, &selector, &options)?;
        let version = state.store.version;
        drop(state);
        Ok(self
            .many(
                request,
                query,
                &target.resource,
                &deleted,
                &json!({"resourceVersion": version.to_string()}),
            )
            .warning(call.warnings))
    }

    fn list(&self, request: &Request, query: &Query, target: &Target) -> Result<Answer, Failure> {
        let resource = &target.resource;
        let selector = selector_of(query, target)?;
        let state = self.lock();
        let shelf = &state.store.shelves[resource.shelf];
        let limit = query.number("limit")?.filter(|limit| *limit > 0).map(|limit| limit as usize);
        let current = state.store.version;
        let requested = query.number("resourceVersion")?.unwrap_or(0);
        let is_exact = query.get("resourceVersionMatch") == "Exact";
        let (version, after) = match query.get("continue") {
            "" if is_exact && requested > 0 => (requested, None),
            "" => (current, None),
            token => {
                let (version, after) = read_token(token)?;
                (version, Some(after))
            }
        };
        if requested > current {
            return Err(Failure::too_large_resource_version(requested, current));
        }
        let past;
        let objects: &BTreeMap<Key, Arc<Stored>> = if version == current {
            &shelf.objects
        } else if shelf.remembers(version) {
            past = shelf.as_of(version);
            &past
        } else if after.is_some() {
            return Err(Failure::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
            ));
        } else {
            return Err(Failure::expired("The resourceVersion for the provided list is too old."));
        };
        let begin = match &after {
            Some(key) => std::ops::Bound::Excluded(key.clone()),
            None => std::ops::Bound::Included((target.namespace.clone(), String::new())),
        };
        let mut found = objects
            .range((begin, std::ops::Bound::Unbounded))
            .take_while(|((namespace, _), _)| target.namespace.is_empty() || *namespace == target.namespace)
            .filter(|(_, stored)| selector.matches(&stored.value));
        let page: Vec<(&Key, &Arc<Stored>)> = match limit {
            Some(limit) => found.by_ref().take(limit).collect(),
            None => found.by_ref().collect(),
        };
        let remaining = found.count();
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if remaining > 0
            && let Some((key, _)) = page.last()
        {
            metadata["continue"] = json!(write_token(version, key));
            if selector.is_everything() {
                metadata["remainingItemCount"] = json!(remaining);
            }
        }
        let items: Vec<Arc<Stored>> = page.into_iter().map(|(_, stored)| Arc::clone(stored)).collect();
        drop(state);
        Ok(self.many(request, query, resource, &items, &metadata))
    }

    fn watch(&self, request: &Request, query: &Query, target: &Target) -> Result<Answer, Failure> {
        let options = &self.inner.options;
        let selector = selector_of(query, target)?;
        let shape = Shape::of(&request.accept, query.get("includeObject"));
        let wants_bookmarks = query.flag("allowWatchBookmarks");
        let sends_initial = match query.get("sendInitialEvents") {
            "" => None,
            text => Some(text == "true"),
        };
        check_watch_options(query, sends_initial)?;
        let seconds = query.number("timeoutSeconds")?;
        let lifetime = Duration::from_secs(seconds.filter(|seconds| *seconds > 0).unwrap_or(1800));
        let lifetime = lifetime.max(options.watch_timeout_min);
        // Who sets no limit trusts a silent watch: the bookmark at its end is enough.
        let period = if seconds == Some(0) { lifetime } else { options.bookmark_period };
        let terms = Terms { lifetime, bookmarks: wants_bookmarks.then_some(period) };
        let requested = query.number("resourceVersion")?;
        let mut state = self.lock();
        let current = state.store.version;
        let shelf = &mut state.store.shelves[target.resource.shelf];
        let mut first: VecDeque<Item> = VecDeque::new();
        let start = requested.unwrap_or(0);
        if start > current {
            return Err(Failure::too_large_resource_version(start, current));
        }
        let lists = sends_initial.unwrap_or(start == 0);
        if lists {
            first.extend(
                shelf.select(&selector).map(|(_, stored)| Item::Object(Change::Added, Arc::clone(stored))),
            );
            if sends_initial == Some(true) && wants_bookmarks {
                first.push_back(Item::Bookmark(current, true));
            }
        } else if start > 0 {
            if !shelf.remembers(start) {
                let failure = Failure::gone(start, shelf.oldest());
                first.push_back(Item::Error(failure.to_status()));
                drop(state);
                return Ok(Answer::Watch(Box::new(WatchBody::new(
                    self.clone(),
                    Arc::clone(&target.resource),
                    shape,
                    first,
                    None,
                    terms,
                ))));
            }
            let missed = shelf
                .since(start)
                .filter_map(|event| Some(Item::Object(event.change(&selector)?, Arc::clone(&event.object))));
            first.extend(missed);
        }
        let events = shelf.watch(selector);
        drop(state);
        Ok(Answer::Watch(Box::new(WatchBody::new(
            self.clone(),
            Arc::clone(&target.resource),
            shape,
            first,
            Some(events),
            terms,
        ))))
    }

    /// One object in the form that the client wants.
    pub(crate) fn one(
        &self,
        request: &Request,
        query: &Query,
        resource: &Resource,
        stored: &Stored,
        code: u16,
    ) -> Answer {
        let shape = Shape::of(&request.accept, query.get("includeObject"));
        Answer::bytes(code, shape.object(resource, stored, true, (self.inner.options.now)()))
    }

    /// A list in the form that the client wants.
    fn many(
        &self,
        request: &Request,
        query: &Query,
        resource: &Resource,
        items: &[Arc<Stored>],
        metadata: &Value,
    ) -> Answer {
        match Shape::of(&request.accept, query.get("includeObject")) {
            Shape::Whole => {
                let head = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": metadata}).to_string();
                let mut body = BytesMut::with_capacity(
                    head.len() + 16 + items.iter().map(|item| item.text().len() + 1).sum::<usize>(),
                );
                body.put_slice(&head.as_bytes()[..head.len() - 1]);
                body.put_slice(b",\"items\":[");
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        body.put_u8(b',');
                    }
                    body.put(plain(resource, item));
                }
                body.put_slice(b"]}");
                Answer::bytes(200, body.freeze())
            }
            Shape::Metadata => {
                let items: Vec<_> = items.iter().map(|item| PartialObject::of(&item.value).value()).collect();
                Answer::json(
                    200,
                    &json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items}),
                )
            }
            Shape::Table(rows) => Answer::json(200, &self.table(resource, items, rows, metadata)),
        }
    }

    fn table(&self, resource: &Resource, items: &[Arc<Stored>], rows: Rows, metadata: &Value) -> Value {
        let shown: Vec<_> = items.iter().map(|item| convert::present(resource, &item.value)).collect();
        let shown: Vec<&Value> = shown.iter().map(|item| &**item).collect();
        let mut rendered = table::render(resource, &shown, rows, true, "", (self.inner.options.now)());
        rendered["metadata"] = metadata.clone();
        rendered
    }
}

fn locate(state: &State, group: &str, version: &str, rest: &[&str]) -> Result<Target, Failure> {
    let find = |plural: &str| state.registry.by_plural(group, version, plural).cloned();
    let made = |resource: Arc<Resource>, namespace: &str, name: &str, subresource: &[&str]| Target {
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.join("/"),
    };
    let target = match rest {
        ["namespaces", name, sub @ ("status" | "finalize")] => {
            find("namespaces").map(|found| made(found, "", name, &[sub]))
        }
        ["namespaces", namespace, plural, name @ ..]
            if find(plural).is_some_and(|found| found.namespaced) =>
        {
            let (name, sub) = name.split_first().map_or(("", [].as_slice()), |(name, sub)| (*name, sub));
            find(plural).map(|found| made(found, namespace, name, sub))
        }
        [plural, name @ ..] => {
            let (name, sub) = name.split_first().map_or(("", [].as_slice()), |(name, sub)| (*name, sub));
            find(plural)
                .filter(|found| !found.namespaced || name.is_empty())
                .map(|found| made(found, "", name, sub))
        }
        [] => None,
    };
    target.ok_or_else(Failure::no_such_path)
}

fn selector_of(query: &Query, target: &Target) -> Result<Selector, Failure> {
    Selector::parse(
        &target.resource,
        &target.namespace,
        query.get("labelSelector"),
        query.get("fieldSelector"),
    )
}

/// Reads the patch that the content type announces.
pub(crate) fn read_patch(request: &Request, query: &Query) -> Result<Patch, Failure> {
    let kind = request.content_type.split(';').next().unwrap_or_default().trim();
    Ok(match kind {
        "application/json-patch+json" => Patch::Json(request.value()?),
        "application/merge-patch+json" => Patch::Merge(request.value()?),
        "application/strategic-merge-patch+json" => Patch::Strategic(request.value()?),
        "application/apply-patch+yaml" => Patch::Apply {
            object: request.value()?,
            manager: query.get("fieldManager").to_owned(),
            force: query.flag("force"),
        },
        _ => {
            return Err(Failure::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
            ));
        }
    })
}

fn check_watch_options(query: &Query, sends_initial: Option<bool>) -> Result<(), Failure> {
    let matched = query.get("resourceVersionMatch");
    let cause = match (sends_initial, matched) {
        (Some(_), "") => Cause::forbidden(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (Some(_), other) if other != "NotOlderThan" => Cause::forbidden(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (None, other) if !other.is_empty() => Cause::forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        _ => return Ok(()),
    };
    Err(Failure::invalid("meta.k8s.io", "ListOptions", "", &[cause]))
}

fn write_token(version: u64, (namespace, name): &Key) -> String {
    let text = json!({"v": "meta.k8s.io/v1", "rv": version, "start": [namespace, name]}).to_string();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn read_token(token: &str) -> Result<(u64, Key), Failure> {
    let wrong = || Failure::bad_request(format!("continue key is not valid: {token}"));
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let start: Key = json::from_value(token["start"].clone()).map_err(|_| wrong())?;
    Ok((token["rv"].as_u64().ok_or_else(wrong)?, start))
}

/// Answers a review: everybody may do everything here.
fn review(request: &Request, target: &Target) -> Result<Answer, Failure> {
    if request.method != Method::POST {
        return Err(Failure::method_not_allowed());
    }
    let mut review = request.value()?;
    let user = json!({"username": request.caller, "groups": ["system:masters", "system:authenticated"]});
    review["status"] = match target.resource.kind.as_str() {
        "SelfSubjectReview" => json!({ "userInfo": user }),
        "TokenReview" => json!({"authenticated": true, "user": user}),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        _ => json!({"allowed": true}),
    };
    Ok(Answer::json(201, &review))
}
