//! What every store promises, as one body: run over each store by whoever has one.

use engine::store::{ErrorKind, Metadata, Store};

/// The promises of the seam.
pub async fn keeps_the_promises(store: &dyn Store) {
    let kind = |error: engine::store::Error| error.kind;
    // Nothing is there.
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(store.get("absent", None).await.map_err(kind), Err(ErrorKind::NotFound));
    assert_eq!(store.stat("absent").await.map_err(kind), Err(ErrorKind::NotFound));
    store.delete("absent").await.unwrap();
    // What was put is got, whole and in ranges; a put replaces.
    let long = "p0123456789abcdef0123456789abcdef-s6988ecdb443e1328147";
    for (id, bytes) in [
        ("kopia.repository", "format"),
        (long, "0123456789"),
        ("xn0_aa-s1-c1", ""),
        ("p0", "old"),
        ("p0", "new"),
    ] {
        store.put(id, bytes.into()).await.unwrap();
        assert_eq!(store.get(id, None).await.unwrap(), bytes);
        assert_eq!(store.stat(id).await.unwrap().length, bytes.len() as u64);
    }
    assert_eq!(store.get(long, Some(2..5)).await.unwrap(), "234");
    assert_eq!(store.get(long, Some(0..10)).await.unwrap(), "0123456789");
    assert_eq!(store.get(long, Some(4..4)).await.unwrap(), "");
    assert_eq!(store.get(long, Some(5..11)).await.map_err(kind), Err(ErrorKind::Truncated));
    // Listings are sorted, by prefix, with lengths and times.
    let names = |listing: Vec<Metadata>| listing.into_iter().map(|blob| blob.id).collect::<Vec<_>>();
    assert_eq!(names(store.list("").await.unwrap()), ["kopia.repository", "p0", long, "xn0_aa-s1-c1"]);
    assert_eq!(names(store.list("p").await.unwrap()), ["p0", long]);
    assert_eq!(names(store.list("p01").await.unwrap()), [long]);
    assert_eq!(names(store.list("p0123456789abcdef0123456789abcdef-s").await.unwrap()), [long]);
    assert_eq!(names(store.list("z").await.unwrap()), Vec::<String>::new());
    let listed = store.list("p0").await.unwrap();
    for blob in &listed {
        assert_eq!(*blob, store.stat(&blob.id).await.unwrap());
    }
    // Creation is exclusive and leaves what is there.
    assert_eq!(store.put_new("p0", "third".into()).await.map_err(kind), Err(ErrorKind::Exists));
    assert_eq!(store.get("p0", None).await.unwrap(), "new");
    store.put_new(&format!("{long}2"), "created".into()).await.unwrap();
    assert_eq!(store.get(&format!("{long}2"), None).await.unwrap(), "created");
    // What is deleted is gone, and nothing else.
    store.delete("p0").await.unwrap();
    assert_eq!(names(store.list("p").await.unwrap()), [long.to_owned(), format!("{long}2")]);
}
