//! What a caller says of programs, maps and values by their names.

use crate::error::Error;

/// Values by name, ascending. All kinds of value share little code, and few names are given.
#[derive(Clone, Debug)]
pub(crate) struct Named<V>(Vec<(String, V)>);

impl<V> Default for Named<V> {
    fn default() -> Named<V> {
        Named(Vec::new())
    }
}

impl<V> Named<V> {
    /// Sets the value of a name.
    pub(crate) fn insert(&mut self, name: String, value: V) {
        match self.place(&name) {
            Ok(at) => {
                if let Some(entry) = self.0.get_mut(at) {
                    entry.1 = value;
                }
            }
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        let entry = self.0.get(self.place(name).ok()?);
        entry.map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Checks that there is what each name names; `what` that is.
    pub(crate) fn must_be(
        &self,
        what: &'static str,
        is: &dyn Fn(&str) -> bool,
    ) -> Result<(), Error> {
        for (name, _) in &self.0 {
            if !is(name) {
                return Err(Error::not_found(what, name));
            }
        }
        Ok(())
    }

    /// Gives the names, ascending.
    #[cfg(any(test, feature = "exclusive"))]
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(name, _)| name)
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0
            .binary_search_by(|(known, _)| known.as_str().cmp(name))
    }
}

#[cfg(test)]
mod tests {
    use super::Named;

    #[test]
    fn names_have_the_last_value_given() {
        let mut named = Named::default();
        for (name, value) in [("b", 1), ("a", 2), ("c", 3), ("a", 4)] {
            named.insert(name.to_owned(), value);
        }
        assert_eq!(named.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(named.get("a"), Some(&4));
        assert_eq!(named.get("d"), None);
        assert!(named.contains("c"));
    }
}
