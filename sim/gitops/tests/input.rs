//! Bad input gives one error with file, line and cure, or a finding; never a panic, never silence.

use std::path::Path;

use gitops::model::Severity;
use gitops::{Error, Input, Model, Options, read};

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Model, Error>) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(directory.path(), name, text);
    }
    let result = read(vec![Input::Path(directory.path().to_owned())], &Options::default());
    (directory, result)
}

const CLAIM: &str = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a, namespace: n}\nspec: {resources: {requests: {storage: 1Gi}}}\n";

#[test]
fn invalid_yaml_is_named_with_its_line_and_the_rest_is_read() {
    let (_directory, result) =
        directory(&[("a.yaml", CLAIM), ("b.yaml", "# fine\n---\nkind: Secret\nmetadata:\n  name: [x\n")]);
    let model = result.unwrap();
    assert_eq!(model.apps.len(), 1);
    let problem = model.problems.iter().find(|problem| problem.id == "invalid-yaml").unwrap();
    let origin = problem.origin.as_ref().unwrap();
    assert!(origin.file.ends_with("b.yaml") && origin.line >= 5, "{problem}");
    assert_eq!(problem.severity, Severity::Broken);
}

#[test]
fn a_directory_without_manifests_is_an_error_with_a_cure() {
    let (_directory, result) = directory(&[("values.yaml", "replicas: 1\n"), ("README.md", "# hello")]);
    let error = result.unwrap_err();
    assert!(matches!(error, Error::NoManifests { files: 1, .. }), "{error}");
    assert!(error.to_string().contains("apiVersion"), "{error}");
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let error = read(vec![Input::Path("no/such/path".into())], &Options::default()).unwrap_err();
    assert!(error.to_string().contains("no/such/path"), "{error}");
}

#[test]
fn a_template_is_named_and_not_guessed_at() {
    let (_directory, result) = directory(&[
        ("a.yaml", CLAIM),
        (
            "templates/b.yaml",
            "kind: ReplicationSource\nmetadata:\n  name: {{ .Values.name }}\n{{- if .Values.x }}\nspec: {}\n{{- end }}\n",
        ),
    ]);
    let model = result.unwrap();
    assert!(
        model
            .skipped
            .iter()
            .any(|skipped| skipped.what.contains("ReplicationSource")
                && skipped.origin.file.ends_with("b.yaml")),
        "{:?}",
        model.skipped
    );
}

#[test]
fn a_resource_without_spec_is_a_finding() {
    let (_directory, result) = directory(&[
        ("a.yaml", CLAIM),
        (
            "b.yaml",
            "apiVersion: volsync.backube/v1alpha1\nkind: ReplicationSource\nmetadata: {name: x, namespace: n}\nspec: nothing\n",
        ),
    ]);
    let model = result.unwrap();
    assert!(
        model
            .problems
            .iter()
            .any(|problem| problem.id == "wrong-type" && problem.origin.as_ref().unwrap().line == 4),
        "{:?}",
        model.problems
    );
}

#[test]
fn a_missing_secret_and_a_missing_key_are_told_apart() {
    let source = "apiVersion: volsync.backube/v1alpha1\nkind: ReplicationSource\nmetadata: {name: a, namespace: n}\nspec: {sourcePVC: a, trigger: {schedule: 0 * * * *}, kopia: {repository: r, copyMethod: Snapshot}}\n";
    for (secret, part) in [
        ("", "nowhere in the input"),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: r, namespace: n}\nstringData: {KOPIA_PASSWORD: x}\n",
            "has no KOPIA_REPOSITORY",
        ),
    ] {
        let (_directory, result) = directory(&[("a.yaml", CLAIM), ("s.yaml", source), ("k.yaml", secret)]);
        let model = result.unwrap();
        let problem = model.apps[0]
            .problems
            .iter()
            .find(|problem| problem.id == "missing-secret")
            .unwrap_or_else(|| panic!("{part}: {:?}", model.apps[0].problems));
        assert!(problem.message.contains(part) && problem.origin.is_some(), "{problem}");
    }
}

#[test]
fn other_movers_and_operators_are_named_as_not_read() {
    let (_directory, result) = directory(&[
        ("a.yaml", CLAIM),
        (
            "r.yaml",
            "apiVersion: volsync.backube/v1alpha1\nkind: ReplicationSource\nmetadata: {name: a, namespace: n}\nspec: {sourcePVC: a, restic: {repository: r}}\n",
        ),
        (
            "k.yaml",
            "apiVersion: kopiur.home-operations.com/v1alpha1\nkind: SnapshotPolicy\nmetadata: {name: a, namespace: n}\nspec: {}\n",
        ),
    ]);
    let model = result.unwrap();
    let movers: Vec<&str> = model.unread.iter().map(|unread| unread.mover.as_str()).collect();
    assert_eq!(movers, ["kopiur", "restic"]);
    assert!(model.apps[0].problems.iter().any(|problem| problem.message.contains("restic only")));
}

#[test]
fn two_clusters_in_one_tree_are_told_apart() {
    let flux = |cluster: &str| {
        format!(
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: a}}\nspec: {{path: ./base/a, targetNamespace: office, postBuild: {{substitute: {{SIZE: 1Gi, CLUSTER: {cluster}}}}}}}\n"
        )
    };
    let (_directory, result) = directory(&[
        ("clusters/main/a.yaml", &flux("main")),
        ("clusters/test/a.yaml", &flux("test")),
        (
            "base/a/pvc.yaml",
            &CLAIM.replace("1Gi", "'${SIZE}'").replace("namespace: n", "labels: {c: '${CLUSTER}'}"),
        ),
    ]);
    let keys: Vec<String> = result.unwrap().apps.iter().map(|app| app.key.to_string()).collect();
    assert_eq!(keys, ["main/office/a", "test/office/a"]);
}

#[test]
fn a_parent_patches_its_children_and_gives_them_variables() {
    let (_directory, result) = directory(&[
        (
            "flux/cluster.yaml",
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\nspec:\n  path: ./apps\n  postBuild: {substitute: {CLASS: ceph-block}}\n  patches:\n    - target: {kind: Kustomization, group: kustomize.toolkit.fluxcd.io}\n      patch: |\n        - {op: add, path: /spec/targetNamespace, value: patched}\n",
        ),
        ("apps/kustomization.yaml", "resources: [./a/ks.yaml]\n"),
        (
            "apps/a/ks.yaml",
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: a}\nspec: {path: ./apps/a/app, postBuild: {substitute: {C: '${CLASS}'}}}\n",
        ),
        ("apps/a/app/kustomization.yaml", "resources: [./pvc.yaml]\n"),
        (
            "apps/a/app/pvc.yaml",
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec: {storageClassName: '${C}', resources: {requests: {storage: 1Gi}}}\n",
        ),
    ]);
    let model = result.unwrap();
    assert_eq!(model.apps.len(), 1, "{:?}", model.skipped);
    let app = &model.apps[0];
    assert_eq!(
        (app.key.namespace.as_str(), app.claims[0].class.as_deref(), app.unknown.len()),
        ("patched", Some("ceph-block"), 0)
    );
}

#[test]
fn what_is_set_on_the_command_line_fills_what_is_unset() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "a.yaml", &CLAIM.replace("1Gi", "'${SIZE}'"));
    let model = read(vec![Input::Path(directory.path().to_owned())], &Options::default()).unwrap();
    assert_eq!(model.apps[0].unknown[0].variable, "SIZE");
    assert!(model.apps[0].unknown[0].hint.contains("--set SIZE="));
    let options = Options { variables: [("SIZE".to_owned(), "3Gi".to_owned())].into(), ..Options::default() };
    let model = read(vec![Input::Path(directory.path().to_owned())], &options).unwrap();
    assert_eq!((model.apps[0].claims[0].capacity_bytes, model.apps[0].unknown.len()), (Some(3 << 30), 0));
}
