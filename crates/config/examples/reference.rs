//! Prints the reference file, for `config/reference.toml`.

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() {
    print!("{}", vestibule_config::reference_file());
}
