//! Compiles the room again when its recipe changes: the recipe is embedded as a whole folder, which cargo does not watch.

fn main() {
    println!("cargo::rerun-if-changed=recipe");
    println!("cargo::rerun-if-changed=build.rs");
}
