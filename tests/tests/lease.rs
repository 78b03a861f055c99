//! Elections on a cluster with a virtual clock: one leads, a dead leader is followed, a cut-off one resigns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use apiserver::{ApiServer, Options as ServerOptions, Sequencing};
use controller::lease::{Elector, Lost, Options};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::time::{Instant, timeout};

fn clock() -> controller::Now {
    let begin = Instant::now();
    Arc::new(move || Timestamp::from_second(1_767_225_600).expect("an instant") + begin.elapsed())
}

fn server() -> ApiServer {
    let tick = Sequencing::Tick(Duration::from_millis(1));
    ApiServer::new(ServerOptions::new(clock(), 7).sequencing(tick))
}

/// A client whose requests get no answer while it is cut off.
fn client(server: &ApiServer, name: &str) -> (Client, Arc<AtomicBool>) {
    let cut = Arc::new(AtomicBool::new(false));
    let (service, is_cut) = (server.service(name), cut.clone());
    let service = tower::service_fn(move |request| {
        let (mut service, is_cut) = (service.clone(), is_cut.clone());
        async move {
            if is_cut.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            tower::Service::call(&mut service, request).await
        }
    });
    (Client::new(service, "default"), cut)
}

fn elector(client: &Client, name: &str) -> Elector {
    Elector::new(client.clone(), Options::new("default", "firedrill", name), clock())
}

async fn lease(client: &Client) -> k8s_openapi::api::coordination::v1::LeaseSpec {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
    leases.get("firedrill").await.expect("the lease").spec.expect("a spec")
}

#[tokio::test(start_paused = true)]
async fn of_two_only_one_leads_and_the_other_follows_a_farewell_at_once() {
    let server = server();
    let (a, _) = client(&server, "a");
    let (b, _) = client(&server, "b");
    let (mut first, mut second) = (elector(&a, "a"), elector(&b, "b"));
    let mut answered = 0;
    first.acquire(|| answered += 1).await;
    assert_eq!(answered, 1);
    // For an hour the leader renews and the other waits.
    let waiting = tokio::spawn(async move {
        let mut answered = 0;
        second.acquire(|| answered += 1).await;
        (answered, second)
    });
    assert!(timeout(Duration::from_secs(3600), first.hold()).await.is_err(), "the leader lost its lease");
    assert!(!waiting.is_finished(), "two lead");
    let held = lease(&a).await;
    assert_eq!((held.holder_identity.as_deref(), held.lease_transitions), (Some("a"), Some(0)));
    first.release().await.expect("given back");
    let since = Instant::now();
    let (answered, _second) = waiting.await.expect("the second leads");
    assert!(answered > 1000, "it was answered, and so ready, while it waited");
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    let held = lease(&a).await;
    assert_eq!((held.holder_identity.as_deref(), held.lease_transitions), (Some("b"), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_followed_after_its_time_and_not_before() {
    let server = server();
    let (a, _) = client(&server, "a");
    let (b, _) = client(&server, "b");
    elector(&a, "a").acquire(|| {}).await;
    let since = Instant::now();
    elector(&b, "b").acquire(|| {}).await;
    let took = since.elapsed();
    assert!((Duration::from_secs(15)..Duration::from_secs(20)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_resigns_before_another_can_take_over() {
    let server = server();
    let (a, cut) = client(&server, "a");
    let (b, _) = client(&server, "b");
    let mut first = elector(&a, "a");
    first.acquire(|| {}).await;
    let since = Instant::now();
    let followed = tokio::spawn(async move {
        elector(&b, "b").acquire(|| {}).await;
        Instant::now()
    });
    cut.store(true, Ordering::SeqCst);
    let lost = first.hold().await;
    assert!(matches!(lost, Lost::NotRenewed { .. }), "{lost}");
    let resigned = Instant::now();
    assert!(resigned - since <= Duration::from_secs(10) + Duration::from_secs(2));
    assert!(followed.await.expect("followed") > resigned, "two lead");
    // Back again, it finds another in its place.
    cut.store(false, Ordering::SeqCst);
    let lost = first.hold().await;
    assert!(matches!(&lost, Lost::Taken { holder } if holder == "b"), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn what_another_holds_is_not_given_back() {
    let server = server();
    let (a, _) = client(&server, "a");
    elector(&a, "a").acquire(|| {}).await;
    elector(&a, "b").release().await.expect("nothing to do");
    assert_eq!(lease(&a).await.holder_identity.as_deref(), Some("a"));
}
