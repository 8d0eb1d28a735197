//! The configuration: one typed tree with its defaults, and what makes a tree valid.

use std::{net::SocketAddr, time::Duration};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;
