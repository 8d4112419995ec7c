package providers

import (
	"crypto/tls"
	"crypto/x509"
)

// Trust makes a transport trust further certificates.
func (t *Transport) Trust(roots *x509.CertPool) { t.base.TLSClientConfig = &tls.Config{RootCAs: roots} }
