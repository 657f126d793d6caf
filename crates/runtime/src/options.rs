//! Options given to a script, and which of its probes they leave.

use kscope_script::near::near;
use kscope_script::plan::{OptionDecl, OptionKind, OptionMeaning, Plan, ProbePlan, SEARCH_LIMIT};
use kscope_spec::LateValue;

use crate::error::Error;
use crate::meaning;

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// `--name` or `--name=false`.
    Bool(bool),
    /// `--name=1`.
    Int(i64),
    /// `--name=text`.
    Text(String),
}

/// The values of all options of a plan, defaults where nothing was given.
#[derive(Clone, Debug, Default)]
pub struct Options {
    values: Vec<OptionValue>,
}

impl Options {
    /// Reads values as written on a command line; an option may be given without a value.
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`] for an unknown option or a value of the wrong type.
    pub fn parse(plan: &Plan, given: &[(String, Option<String>)]) -> Result<Options, Error> {
        let mut values: Vec<OptionValue> = plan
            .options
            .iter()
            .map(|option| default(&option.kind))
            .collect();
        for (name, text) in given {
            let Some(index) = plan.options.iter().position(|option| option.name == *name) else {
                let why = unknown(name, &plan.options);
                return Err(Error::BadOption {
                    name: name.clone(),
                    why,
                });
            };
            values[index] =
                parse(&plan.options[index], text.as_deref()).map_err(|why| Error::BadOption {
                    name: name.clone(),
                    why,
                })?;
        }
        Ok(Options { values })
    }

    /// Gives the value of an option by its index in the plan.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&OptionValue> {
        self.values.get(index)
    }

    /// Gives the strings by option name, as the options map wants them.
    pub(crate) fn texts(&self, plan: &Plan) -> Vec<(String, String)> {
        let pairs = plan.options.iter().zip(&self.values);
        pairs
            .filter_map(|(option, value)| match value {
                OptionValue::Text(text) => Some((option.name.clone(), text.clone())),
                _ => None,
            })
            .collect()
    }

    /// Gives the numbers by the name of their late value; a string counts as its length.
    pub(crate) fn numbers_of<'a>(
        &'a self,
        plan: &'a Plan,
        late: &'a [LateValue],
    ) -> impl Iterator<Item = (&'a str, u64)> {
        let pairs = plan.options.iter().zip(&self.values);
        pairs.filter_map(|(option, value)| {
            let late = late.get(option.late.0 as usize)?;
            let number = match value {
                OptionValue::Bool(value) => u64::from(*value),
                OptionValue::Int(value) => *value as u64,
                OptionValue::Text(text) => text.len() as u64,
            };
            Some((late.name.as_str(), number))
        })
    }

    /// Says whether the options leave a probe to be run.
    pub(crate) fn keep(&self, probe: &ProbePlan) -> bool {
        probe.when.iter().all(|condition| {
            let equal = match self.get(condition.option as usize) {
                Some(OptionValue::Text(text)) => *text == condition.value,
                Some(OptionValue::Bool(value)) => value.to_string() == condition.value,
                Some(OptionValue::Int(value)) => value.to_string() == condition.value,
                None => false,
            };
            equal != condition.negated
        })
    }
}

/// Says of a name that it is no option, and what the writer may have meant.
fn unknown(name: &str, options: &[OptionDecl]) -> String {
    let names = options.iter().map(|option| option.name.as_str());
    if options.is_empty() {
        return "the script has no options".to_owned();
    }
    if let Some(near) = near(name, names.clone()) {
        return format!("the script has no such option; did you mean --{near}?");
    }
    let names: Vec<String> = names.map(|name| format!("--{name}")).collect();
    format!("the script has no such option; it has {}", names.join(", "))
}

fn default(kind: &OptionKind) -> OptionValue {
    match kind {
        OptionKind::Bool(value) => OptionValue::Bool(*value),
        OptionKind::Int(value) => OptionValue::Int(*value),
        OptionKind::Str { default, .. } => OptionValue::Text(default.clone()),
    }
}

fn parse(option: &OptionDecl, text: Option<&str>) -> Result<OptionValue, String> {
    match (&option.kind, text) {
        (OptionKind::Bool(_), None | Some("true" | "1" | "yes")) => Ok(OptionValue::Bool(true)),
        (OptionKind::Bool(_), Some("false" | "0" | "no")) => Ok(OptionValue::Bool(false)),
        (OptionKind::Bool(_), Some(text)) => Err(format!("`{text}` is neither true nor false")),
        (OptionKind::Int(_), Some(text)) => {
            meaning::value(text, &option.meaning).map(OptionValue::Int)
        }
        (OptionKind::Int(_), None) => Err("it needs a number: --name=1".to_owned()),
        (OptionKind::Str { capacity, .. }, Some(text)) => {
            match &option.meaning {
                OptionMeaning::Choice(choices) => meaning::choose(text, choices)?,
                OptionMeaning::Command => meaning::command(text)?,
                _ => {}
            }
            let room = capacity.saturating_sub(1) as usize;
            if text.len() > room {
                return Err(format!(
                    "the text has {} bytes, at most {room} fit",
                    text.len()
                ));
            }
            if option.masks.is_some() && text.len() > SEARCH_LIMIT {
                return Err(format!(
                    "the text has {} bytes, at most {SEARCH_LIMIT} can be searched for",
                    text.len()
                ));
            }
            Ok(OptionValue::Text(text.to_owned()))
        }
        (OptionKind::Str { .. }, None) => Err("it needs a text: --name=text".to_owned()),
    }
}
