//! Plans in objects, and objects of scripts.

use kscope_script::Compiled;
use kscope_script::portable::{SECTION, Saved};
use kscope_spec::write::{self, Note};
use kscope_spec::{Spec, read};

/// Reads the plan of an object. One that is read is written as it was, and joined with programs
/// that are not its own without harm.
pub fn plan(bytes: &[u8]) -> bool {
    let Ok(saved) = Saved::parse(bytes) else {
        return false;
    };
    assert_eq!(Saved::parse(&saved.to_bytes()).as_ref(), Ok(&saved));
    // Few plans need nothing of their object.
    let _ = saved.join(Spec::default());
    true
}

/// Writes a script as an object; what is read of it is the script again.
pub(crate) fn build(compiled: &Compiled, source: &str) {
    let bytes = compiled.saved("fuzz", source).to_bytes();
    let note = Note {
        name: SECTION,
        bytes: &bytes,
    };
    let object = write::object(&compiled.spec, &[note]).expect("scripts have a form in objects");
    let spec = read::object(&object).expect("what is written is read");
    for program in &spec.programs {
        assert_eq!(program.refused, None, "{}", program.name);
    }
    let saved = Saved::parse(&bytes).expect("what is written is read");
    let again = saved.join(spec).expect("plan and programs belong together");
    assert_eq!(again.plan.sites, compiled.plan.sites);
}
