package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// mask is what stands in place of a value that must not be seen.
const mask = "****"

// Bytes is a size. It is written as a number with a binary unit (KiB, MiB, GiB,
// TiB), a decimal one (KB, MB, GB, TB), B, or none.
type Bytes int64

// byteUnits are ordered so that the largest unit that divides a size comes
// first, and the binary one before the decimal one.
var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
}

var errNotBytes = errors.New("not a size in bytes")

// UnmarshalText reads a size such as "1GiB". Its error does not quote the text.
func (b *Bytes) UnmarshalText(text []byte) error {
	digits, size := string(text), int64(1)
	for _, unit := range byteUnits {
		head := len(digits) - len(unit.name)
		if head > 0 && strings.EqualFold(digits[head:], unit.name) {
			digits, size = strings.TrimRight(digits[:head], " "), unit.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64/size || n < math.MinInt64/size {
		return errNotBytes
	}
	*b = Bytes(n * size)
	return nil
}

// String returns the size in the largest unit that divides it.
func (b Bytes) String() string {
	for _, unit := range byteUnits {
		if size := int64(b); size != 0 && unit.size > 1 && size%unit.size == 0 {
			return strconv.FormatInt(size/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText returns what String does.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// masked is a value that shows only in part, however it is printed, logged or
// marshalled.
type masked struct{ value, shown string }

// Reveal returns the value in clear, for use alone.
func (m masked) Reveal() string { return m.value }

// IsZero reports whether the value is not set.
func (m masked) IsZero() bool { return m.value == "" }

// String returns the part that may be seen.
func (m masked) String() string { return m.shown }

// Format prints what String returns, whatever the verb.
func (m masked) Format(f fmt.State, _ rune) {
	// An error of the writer behind f is the writer's to report.
	_, _ = io.WriteString(f, m.shown)
}

// LogValue implements [slog.LogValuer] with what String returns.
func (m masked) LogValue() slog.Value { return slog.StringValue(m.shown) }

// MarshalText returns what String does.
func (m masked) MarshalText() ([]byte, error) { return []byte(m.shown), nil }

// KeyID is an access key's id. It is no secret by itself, but names an account;
// it shows as its first four characters, which tell the kind of key.
type KeyID struct{ masked }

// NewKeyID wraps an id.
func NewKeyID(id string) KeyID {
	const half = 4
	switch {
	case id == "":
		return KeyID{}
	case len(id) < 2*half: // too short to show half of it
		return KeyID{masked{id, mask}}
	default:
		return KeyID{masked{id, id[:half] + mask}}
	}
}

// ServerURLs is a list of NATS server URLs, separated by commas. Credentials
// that stand in them are masked wherever the list is printed.
type ServerURLs struct{ masked }

// NewServerURLs wraps a list without checking it.
func NewServerURLs(list string) ServerURLs { return ServerURLs{masked{list, maskURLs(list)}} }

// maskURLs masks passwords and tokens. A list that can't be read shows as the
// mask alone, since nobody knows which part of it is harmless.
func maskURLs(list string) string {
	if list == "" {
		return ""
	}
	servers, rule := parseURLs(list)
	if rule != "" {
		return mask
	}
	if !slices.ContainsFunc(servers, func(server *url.URL) bool { return server.User != nil }) {
		return list
	}
	texts := make([]string, len(servers))
	for i, server := range servers {
		user := ""
		if server.User != nil {
			// A name without a password is a token, and one with an @ in it is more than
			// a name: a list that was put together wrongly.
			user = mask + "@"
			if password, _ := server.User.Password(); password != "" && !strings.Contains(server.User.Username(), "@") {
				user = url.User(server.User.Username()).String() + ":" + mask + "@"
			}
		}
		texts[i] = server.Scheme + "://" + user + server.Host
	}
	return strings.Join(texts, ",")
}

// parseURLs splits a list. It returns the rule that the list breaks, or "". A
// server without scheme gets nats://, as the client library has it.
func parseURLs(list string) (servers []*url.URL, rule string) {
	websockets := 0
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			return nil, "must not hold an empty entry"
		}
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		server, err := url.Parse(text)
		switch {
		case err != nil: // it quotes the URL, and so a password
			return nil, "must hold URLs like nats://host:4222, separated by commas"
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, server.Scheme):
			return nil, "must hold URLs of the schemes nats, tls, ws or wss"
		case server.Hostname() == "" || strings.ContainsAny(server.Hostname(), " @/\\"):
			return nil, "must name a host in each URL"
		case server.Path != "" && server.Path != "/" || server.RawQuery != "" || server.Fragment != "":
			return nil, "must hold nothing after host and port"
		case server.Port() != "" && !validPort(server.Port()):
			return nil, "must hold ports from 1 to 65535"
		case strings.HasPrefix(server.Scheme, "ws"):
			websockets++
		}
		servers = append(servers, server)
	}
	if websockets != 0 && websockets != len(servers) {
		return nil, "must not mix ws or wss with other schemes"
	}
	return servers, ""
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
