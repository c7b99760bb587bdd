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
	Endpoint    string // the service's host, or host:port
	Protocol    string // "https" or, for an emulator, "http"
	Credentials Credentials
	SignName    string // of every template that has none of its own
	// Templates are tried in order: the first of the usage type, then the first
	// of usage type Generic.
	Templates      []Template
	ConnectTimeout time.Duration  // bounds one TCP connect, and again one TLS handshake
	Timeout        time.Duration  // bounds a whole call, from credentials to the answer's last byte
	MaxQPS         float64        // caps how many calls a second [Sender.Pace] lets through; 0 is no cap
	Concurrency    int            // how many connections are kept idle; the number of sends at a time
	RootCAs        *x509.CertPool // nil: the system's

	Now    func() time.Time // the wall clock; default [time.Now]
	Logger *slog.Logger     // is told when the outage breaker opens and closes; default: nobody
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
	China, Overseas string
	SignName        string   // overrides the sender's
	Params          []string // names of the message's variables that are sent besides "code"
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
