package aliyun

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Options are the settings of a [Sender], which the caller has checked.
type Options struct {
	// Endpoint is the service's host, or host:port.
	Endpoint string
	// Protocol is "https" or, for an emulator, "http".
	Protocol string
	// Credentials sign the calls.
	Credentials Credentials
	// SignName is the signature of every template that has none of its own.
	SignName string
	// Templates are tried in order: the first of the usage type, then the first
	// of usage type Generic.
	Templates []Template
	// ConnectTimeout bounds one TCP connect, and again one TLS handshake.
	ConnectTimeout time.Duration
	// Timeout bounds a whole call, from credentials to the answer's last byte.
	Timeout time.Duration
	// MaxQPS caps how many calls a second [Sender.Pace] lets through; 0 is no cap.
	MaxQPS float64
	// Concurrency is how many connections are kept idle; the number of sends at
	// a time.
	Concurrency int
	// RootCAs are the certificate authorities trusted; nil is the system's.
	RootCAs *x509.CertPool
	// Now is the wall clock. Default [time.Now].
	Now func() time.Time
	// Logger is told when the outage breaker opens and closes. Default: nobody.
	Logger *slog.Logger
}

// Credentials are an access key, with a security token where it is a temporary
// one. The zero value is the SDK's default chain: environment, OIDC, profile,
// instance role.
type Credentials struct {
	AccessKeyID     string
	AccessKeySecret passcode.Secret
	SecurityToken   passcode.Secret
}

// Template is what a usage type is sent with.
type Template struct {
	UsageType string
	// China and Overseas are template codes for mainland and other numbers. A
	// message whose half is empty is refused with class config.
	China    string
	Overseas string
	// SignName overrides the sender's.
	SignName string
	// Params are the names of the message's variables that are sent besides
	// "code".
	Params []string
}

// checkDebug refuses the values of the environment variable DEBUG at which the
// SDK prints whole requests, phone, passcode and signature included, to standard
// output. The SDK reads the variable before main begins, so all we can do is
// not to start.
func checkDebug(value string) error {
	for flag := range strings.SplitSeq(value, ",") {
		if slices.Contains([]string{"dara", "tea", "credential"}, flag) {
			return fmt.Errorf("the environment variable DEBUG must not hold %q: the SDK would print passcodes and keys", flag)
		}
	}
	return nil
}
