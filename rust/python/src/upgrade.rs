//! The administrator's word that the service goes over to a later version.

use pssmr_types::{Digest, ServiceVersion, Upgrade};
use pyo3::prelude::*;

use crate::errors;
use crate::keys::{cluster_id, secret_key};

/// The administrator's signed upgrade of the service, for `ClientCore.submit_upgrade`: to the version of this number whose
/// commands and state have this digest, which replicas show. `key` is the administrator's private key in PKCS#8 PEM form.
///
/// Raises pssmr.ConfigError for what is no version.
#[pyfunction]
#[pyo3(signature = (*, cluster, version, schema, key))]
pub(crate) fn sign_upgrade(
    py: Python<'_>,
    cluster: &str,
    version: u32,
    schema: [u8; 32],
    key: &str,
) -> PyResult<Vec<u8>> {
    let config_error = |error: PyErr| errors::config_error(py, error.value(py).to_string());
    let cluster = cluster_id(cluster).map_err(config_error)?;
    let secret = secret_key(key).map_err(config_error)?;
    if version == 0 {
        return Err(errors::config_error(py, "versions count from 1"));
    }
    let to = ServiceVersion { number: version, schema: Digest(schema) };
    Ok(Upgrade::sign(cluster, to, &secret).encode())
}
