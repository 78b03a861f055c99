//! The room by itself: builds images, starts a cluster beside a MinIO, and removes all of it.
//!
//! `kind build [node|minio|helm]…`, `kind list`, `kind remove [--cache]`, `kind programs PACKAGE…`,
//! `kind up [--workers N] [--keep]`, `kind sweep [--kept]`.

use std::process::ExitCode;

use cluster::{
    KindCluster, Minio, Run, RunOptions, chain, engine,
    image::{self, Part},
    progress::Monitor,
    sweep::{self, Which},
};

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match act(&words).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn act(words: &[&str]) -> Result<ExitCode, cluster::Error> {
    let docker = engine::connect().await?;
    match words {
        ["build", parts @ ..] => {
            let wanted =
                Part::ALL.into_iter().filter(|part| parts.is_empty() || parts.contains(&part.name()));
            image::build(&docker, &wanted.collect::<Vec<_>>(), &Monitor::lines()).await?;
        }
        ["list"] => {
            for image in image::list(&docker).await? {
                let state = if image.current { "current" } else { "outdated" };
                println!("{:36} {:>6} MB  {state}", image.name, image.bytes / 1_000_000);
            }
        }
        ["remove", rest @ ..] => {
            println!("{:?}", image::remove(&docker, rest.contains(&"--cache")).await?);
        }
        ["programs", packages @ ..] => {
            let Some(checkout) = image::checkout() else {
                eprintln!("this program's checkout is gone");
                return Ok(ExitCode::FAILURE);
            };
            for (package, program) in image::static_binaries(&checkout, packages, &Monitor::lines()).await? {
                println!("{package} {}", program.display());
            }
        }
        ["sweep", rest @ ..] => {
            let which = if rest.contains(&"--kept") { Which::Kept } else { Which::LeftBehind };
            println!("{:?}", sweep::sweep(&docker, which).await?);
        }
        ["up", rest @ ..] => return up(rest).await,
        _ => {
            eprintln!(
                "kind build [node|minio|helm]… | list | remove [--cache] | programs PACKAGE… | up [--workers N] [--keep] | sweep [--kept]"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn up(words: &[&str]) -> Result<ExitCode, cluster::Error> {
    let keep = words.contains(&"--keep");
    let workers =
        words.iter().position(|word| *word == "--workers").and_then(|at| words.get(at + 1)?.parse().ok());
    let run = Run::start(RunOptions { keep }).await?;
    println!("run {}, swept {:?}", run.id(), run.swept());
    let ended = tokio::select! {
        code = Run::interrupted() => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        shown = show(&run, workers.unwrap_or(0)) => shown.map(|()| ExitCode::SUCCESS),
    };
    println!("{:?}", run.finish().await?);
    ended
}

async fn show(run: &Run, workers: usize) -> Result<(), cluster::Error> {
    let minio = Minio::builder(run, "minio").bucket("backups").start();
    let kind = KindCluster::builder(run, "main").workers(workers).monitor(Monitor::lines()).create();
    let (kind, minio) = futures::future::try_join(kind, minio).await?;
    println!("{} in {:.1} s, store at {}", kind.name(), kind.times().total.as_secs_f64(), minio.endpoint());
    println!("KUBECONFIG={}", kind.kubeconfig_path().display());
    println!("{}", kind.kubectl_ok(["get", "nodes,pods", "-A", "-o", "wide"], None).await?);
    Ok(())
}
