pub mod access_log;
pub mod route;
pub mod tls;
