package aliyun

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Defaults of the options that may be left out.
const (
	DefaultEndpoint       = "dysmsapi.aliyuncs.com"
	DefaultProtocol       = "https"
	DefaultConnectTimeout = 2 * time.Second
	DefaultTimeout        = 5 * time.Second
	DefaultConcurrency    = 256
)

// Options are the settings of a [Sender].
type Options struct {
	// Endpoint is the service's host, or host:port. Default [DefaultEndpoint].
	Endpoint string
	// Protocol is "https" or, for an emulator, "http". Default [DefaultProtocol].
	Protocol string
	// Credentials sign the calls.
	Credentials Credentials
	// SignName is the signature of every template that has none of its own.
	SignName string
	// Templates are tried in order: the first of the usage type, then the first
	// of usage type Generic.
	Templates []Template
	// ConnectTimeout bounds one TCP connect, and again one TLS handshake.
	// Default [DefaultConnectTimeout].
	ConnectTimeout time.Duration
	// Timeout bounds a whole call, from credentials to the answer's last byte.
	// Default [DefaultTimeout].
	Timeout time.Duration
	// MaxQPS caps how many calls a second [Sender.Pace] lets through; 0 is no cap.
	MaxQPS float64
	// Concurrency is how many connections are kept idle; the number of sends at
	// a time. Default [DefaultConcurrency].
	Concurrency int
	// RootCAs are the certificate authorities trusted; nil is the system's.
	RootCAs *x509.CertPool
	// Now is the wall clock. Default [time.Now].
	Now func() time.Time
	// Logger is told when the breaker opens and closes. Default: nobody.
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

func (o Options) withDefaults() Options {
	if o.Endpoint == "" {
		o.Endpoint = DefaultEndpoint
	}
	o.Protocol = strings.ToLower(o.Protocol)
	if o.Protocol == "" {
		o.Protocol = DefaultProtocol
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Templates = slices.Clone(o.Templates)
	return o
}

// check returns every problem of the options, joined.
func (o Options) check() error {
	var bad []error
	if !validEndpoint(o.Endpoint) {
		bad = append(bad, errors.New("endpoint must be a host name or host:port, without scheme or path"))
	}
	if o.Protocol != "https" && o.Protocol != "http" {
		bad = append(bad, errors.New("protocol must be https or http"))
	}
	c := o.Credentials
	if (c.AccessKeyID == "") != c.AccessKeySecret.IsZero() {
		bad = append(bad, errors.New("access key id and access key secret must be set together, or neither"))
	}
	if c.AccessKeyID == "" && !c.SecurityToken.IsZero() {
		bad = append(bad, errors.New("a security token needs an access key id and secret"))
	}
	if o.ConnectTimeout < 0 || o.Timeout < 0 {
		bad = append(bad, errors.New("timeouts must be positive"))
	}
	if o.MaxQPS < 0 || math.IsNaN(o.MaxQPS) || math.IsInf(o.MaxQPS, 0) {
		bad = append(bad, errors.New("max qps must be 0 or a positive number"))
	}
	if o.Concurrency < 0 {
		bad = append(bad, errors.New("concurrency must be positive"))
	}
	if err := checkDebug(os.Getenv("DEBUG")); err != nil {
		bad = append(bad, err)
	}
	return errors.Join(bad...)
}

func validEndpoint(endpoint string) bool {
	host := endpoint
	if h, port, err := net.SplitHostPort(endpoint); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
		if net.ParseIP(h) != nil {
			return true // an IPv6 address needs a port, as URLs have no other way to tell
		}
		host = h
	}
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
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
