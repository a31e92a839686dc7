//! `check`: a good file is 0, a bad one is 1 with file, line and column.

use vestibule_testkit::Route;

use crate::gateway;

#[test]
fn a_good_file_is_exit_code_0() {
    let prepared = gateway()
        .route(
            Route::new("wiki", "wiki.example.test")
                .upstream("http://127.0.0.1:1")
                .access("signed-in"),
        )
        .prepare();
    let _ = prepared.cli(&["check"]).expect(0);
}

#[test]
fn an_unknown_key_is_exit_code_1_with_its_place_and_the_nearest_name() {
    let prepared = gateway().prepare();
    let text = std::fs::read_to_string(prepared.file()).unwrap();
    prepared.rewrite(&format!(
        "{text}\n[[route]]\nname = \"a\"\nhost = \"a.example.test\"\nacces = \"public\"\n"
    ));
    let line = std::fs::read_to_string(prepared.file()).unwrap().lines().count();
    let said = prepared.cli(&["check"]).expect(1);
    let all = said.stdout + &said.stderr;
    assert!(all.contains(&format!("vestibule.toml:{line}:1")), "{all}");
    assert!(all.contains("`access`"), "{all}");
}

#[test]
fn a_wrong_command_is_exit_code_2() {
    let _ = gateway().prepare().cli(&["no-such-command"]).expect(2);
}
