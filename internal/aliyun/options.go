package aliyun

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Options are the settings of a [Sender], which the caller has checked.
type Options struct {
	Endpoint    string // host or host:port
	Protocol    string // "https" or, for an emulator, "http"
	Credentials Credentials
	SignName    string // of every template that has none of its own
	// The first template of the usage type is used, else the first of Generic. Without a
	// code for mainland or other numbers, messages to those are refused with class config.
	Templates      []domain.Template
	ConnectTimeout time.Duration  // of one TCP connect, and again of one TLS handshake
	Timeout        time.Duration  // of a whole call, from credentials to the answer's last byte
	MaxQPS         float64        // how many calls a second [Sender.Pace] allows; 0 is no cap
	Concurrency    int            // how many connections are kept idle: one for each send at a time
	RootCAs        *x509.CertPool // nil: the system's

	Now    func() time.Time // default [time.Now]
	Logger *slog.Logger     // for the outage breaker; default: none
}

// Credentials are an access key, and a security token if it is a temporary one. The
// zero value is the SDK's default chain: environment, OIDC, profile, instance role.
type Credentials struct {
	AccessKeyID     string
	AccessKeySecret passcode.Secret
	SecurityToken   passcode.Secret
}

// checkDebug refuses the values of DEBUG with which the SDK prints whole requests,
// passcodes included. The SDK reads the variable before main begins, so all we can do
// is not to start.
func checkDebug(value string) error {
	for flag := range strings.SplitSeq(value, ",") {
		if slices.Contains([]string{"dara", "tea", "credential"}, flag) {
			return fmt.Errorf("the environment variable DEBUG must not hold %q: the SDK would print passcodes and keys", flag)
		}
	}
	return nil
}
