//! Which operation of S3 a request is, on what, and by whom: enough to aim at it.
//!
//! Path-style addresses (`/bucket/key`). Operations are those of the embedded bed's stores, with `head` and
//! `other` for what a bucket has beyond them; a part of a multipart upload is a `put`.
use http::{HeaderMap, Method, Uri, header};

/// A request, as faults aim at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// `get`, `put`, `list`, `head`, `delete` or `other`.
    pub name: &'static str,
    /// `<store>/<blob class>`; only the store where there is no key.
    pub class: String,
    /// The access key, or `anonymous`.
    pub actor: String,
    /// Whether it is signed with a time.
    pub is_signed: bool,
}

impl Operation {
    /// Reads it off a request to the store of this name; without a name, the bucket's.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap, store: Option<&str>) -> Self {
        let (bucket, key) = uri
            .path()
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((uri.path().trim_start_matches('/'), ""));
        let name = match (method.as_str(), key.is_empty()) {
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("HEAD", _) => "head",
            ("PUT" | "POST", false) => "put",
            ("DELETE", false) => "delete",
            // Many objects are deleted by a POST to the bucket.
            ("POST", true) if uri.query().is_some_and(|query| query.starts_with("delete")) => "delete",
            _ => "other",
        };
        let store = store.unwrap_or(bucket);
        let class = if key.is_empty() { store.to_owned() } else { format!("{store}/{}", blob_class(key)) };
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let in_header = authorization.and_then(|text| text.split_once("Credential=")?.1.split('/').next());
        let query = uri.query().unwrap_or_default();
        let in_query = query
            .split('&')
            .find_map(|part| part.strip_prefix("X-Amz-Credential=")?.split(['%', '/']).next());
        let actor = in_header.or(in_query);
        Self { name, class, actor: actor.unwrap_or("anonymous").to_owned(), is_signed: actor.is_some() }
    }
    /// Whether it needs room.
    pub fn writes(&self) -> bool {
        self.name == "put"
    }
}

/// The class of a blob: what stands before the digits of its name, below any prefix of the repository's.
fn blob_class(key: &str) -> &str {
    let id = key.rsplit('/').next().unwrap_or(key);
    if id.starts_with("kopia.") {
        return id;
    }
    if let Some(rest) = id.strip_prefix('_') {
        return &id[..=rest.find('_').unwrap_or(rest.len().min(3))];
    }
    let width = if id.starts_with('x') { 2 } else { 1 };
    id.get(..width).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let signed = "AWS4-HMAC-SHA256 Credential=app/20260101/us-east-1/s3/aws4_request, SignedHeaders=host";
        for (method, uri, name, class) in [
            ("GET", "/main/pre/fix/p0123", "get", "main/p"),
            ("PUT", "/main/xn0_abc?partNumber=1&uploadId=x", "put", "main/xn"),
            ("POST", "/main/p1?uploads", "put", "main/p"),
            ("GET", "/main?list-type=2&prefix=p", "list", "main"),
            ("GET", "/main/?location", "list", "main"),
            ("HEAD", "/main/kopia.repository", "head", "main/kopia.repository"),
            ("DELETE", "/main/_log_2026", "delete", "main/_log"),
            ("POST", "/main?delete", "delete", "main"),
            ("PUT", "/main", "other", "main"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, signed.parse().unwrap());
            let found = Operation::of(&method.parse().unwrap(), &uri.parse().unwrap(), &headers, None);
            assert_eq!((found.name, found.class.as_str()), (name, class), "{method} {uri}");
            assert_eq!((found.actor.as_str(), found.is_signed), ("app", true));
        }
        let by_link = "/main/p1?X-Amz-Credential=other%2F20260101%2Fs3&X-Amz-Date=x".parse().unwrap();
        let found = Operation::of(&Method::GET, &by_link, &HeaderMap::new(), Some("offsite"));
        assert_eq!((found.actor.as_str(), found.class.as_str()), ("other", "offsite/p"));
        let anonymous = Operation::of(&Method::GET, &"/".parse().unwrap(), &HeaderMap::new(), None);
        assert_eq!((anonymous.actor.as_str(), anonymous.is_signed), ("anonymous", false));
    }
}
