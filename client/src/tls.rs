//! The default TLS configuration, by rustls.

use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig, RootCertStore};

/// Returns a configuration that trusts the certificate authorities that browsers trust. It is built
/// once, because the list is long.
pub(crate) fn config() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        // Set explicitly, because the process may have no default provider, or another one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    });
    CONFIG.clone()
}
