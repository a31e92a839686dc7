//! Flows that this instance does not have: 404 with a code that says so. Which they are is
//! told by `GET /config`.

use crate::problem::Problem;

/// A flow that is not there (no mail, mode none, no second factor).
pub(crate) async fn flow() -> Problem {
    Problem::not_available()
}
