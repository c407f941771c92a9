//! The configurations that most tests start from.

/// One frontend over one backend; one worker, so that counts and turns are exact.
pub const ONE: &str = "
workers: 1
frontends:
  web: { mode: http, listen: @web, pool: web }
pools:
  web: { backends: [@a] }
";

/// The same over a pool with these keys, one in a line.
pub fn over(pool: &str) -> String {
    ONE.replace("  web: { backends: [@a] }", &format!("  web:\n{pool}"))
}
