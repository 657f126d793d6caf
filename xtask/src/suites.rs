use crate::arguments::Arguments;
pub(crate) fn run(_: Arguments) -> Result<bool, String> {
    Err(String::new())
}
pub(crate) fn run_unprivileged(_: Arguments) -> Result<bool, String> {
    Err(String::new())
}
