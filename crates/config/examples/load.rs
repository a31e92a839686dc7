//! Loads a file and prints what comes out, for a look while working on this crate.

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() {
    let file = std::env::args_os().nth(1);
    match vestibule_config::load(
        file.as_deref().map(std::path::Path::new),
        &vestibule_config::environment(),
    ) {
        Ok(loaded) => println!(
            "{}\n{:#?}\n{:#}",
            vestibule_config::render(&loaded.warnings),
            loaded.settings,
            loaded.effective
        ),
        Err(report) => println!("{}", vestibule_config::render(&report.diagnostics)),
    }
}
