//! docs/tutorial.md quotes the scripts that run_tutorial.rs runs, and nothing else.

const TUTORIAL: &str = include_str!("../../docs/tutorial.md");

/// The steps as they are run.
const STEPS: [(&str, &str); 5] = [
    ("step1.bt", include_str!("../scripts/tutorial/step1.bt")),
    ("step2.bt", include_str!("../scripts/tutorial/step2.bt")),
    ("step3.bt", include_str!("../scripts/tutorial/step3.bt")),
    ("step4.bt", include_str!("../scripts/tutorial/step4.bt")),
    ("step5.bt", include_str!("../scripts/tutorial/step5.bt")),
];

/// Gives the texts of the fenced blocks that are marked as scripts.
fn scripts(text: &str) -> Vec<&str> {
    let blocks = text.split("```bpftrace\n").skip(1);
    blocks
        .map(|rest| rest.split_once("```").expect("a block ends").0)
        .collect()
}

#[test]
fn every_script_of_the_tutorial_is_one_that_is_run() {
    let quoted = scripts(TUTORIAL);
    let run: Vec<&str> = STEPS.iter().map(|(_, text)| *text).collect();
    assert_eq!(quoted, run);
}

#[test]
fn every_step_names_its_file() {
    for (name, text) in STEPS {
        let (before, _) = TUTORIAL.split_once(text).expect("quoted");
        let heading = before.rsplit("\n## ").next().expect("a heading");
        assert!(heading.contains(name), "{name} is not named: {heading}");
    }
}

#[test]
fn blocks_are_found() {
    let text = "a\n```bpftrace\nb {\n}\n```\nc\n```\nd\n```\n```bpftrace\n```\n";
    assert_eq!(scripts(text), ["b {\n}\n", ""]);
}
