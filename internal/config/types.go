package config

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// mask is what stands in place of a value that must not be seen.
const mask = "****"

// Bytes is a size of at least one byte. It is written as a number with a binary
// unit (KiB, MiB, GiB, TiB), a decimal one (KB, MB, GB, TB), B, or none.
type Bytes int64

// byteUnits are ordered so that the largest unit that divides a size comes
// first, and the binary one before the decimal one.
var byteUnits = []struct {
	name string
	size Bytes
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
}

func parseBytes(text string) (size Bytes, ok bool) {
	unit := Bytes(1)
	for _, u := range byteUnits {
		if head := len(text) - len(u.name); head > 0 && strings.EqualFold(text[head:], u.name) {
			text, unit = strings.TrimRight(text[:head], " "), u.size
			break
		}
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return Bytes(n) * unit, err == nil && n > 0 && Bytes(n) <= math.MaxInt64/unit
}

// MarshalText writes the size in the largest unit that divides it.
func (b Bytes) MarshalText() ([]byte, error) {
	for _, unit := range byteUnits[:len(byteUnits)-1] {
		if b%unit.size == 0 {
			return fmt.Appendf(nil, "%d%s", b/unit.size, unit.name), nil
		}
	}
	return fmt.Append(nil, int64(b)), nil
}

// masked is a value that shows only in part, however it is printed or logged.
type masked struct {
	passcode.Secret
	shown string
}

// String returns the part that may be seen.
func (m masked) String() string { return m.shown }

// Format prints what String returns, whatever the verb.
func (m masked) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.shown) }

// MarshalText returns what String does.
func (m masked) MarshalText() ([]byte, error) { return []byte(m.shown), nil }

// KeyID is an access key's id. It is no secret by itself, but names an account;
// it shows as its first four characters, which tell the kind of key.
type KeyID struct{ masked }

// NewKeyID wraps an id.
func NewKeyID(id string) KeyID {
	secret := passcode.NewSecret(id)
	if len(id) < 8 { // too short to show half of it
		return KeyID{masked{secret, secret.String()}}
	}
	return KeyID{masked{secret, id[:4] + mask}}
}

// ServerURLs is a list of NATS server URLs, separated by commas. Credentials
// that stand in them are masked wherever the list is printed.
type ServerURLs struct{ masked }

// NewServerURLs wraps a list without checking it.
func NewServerURLs(list string) ServerURLs {
	return ServerURLs{masked{passcode.NewSecret(list), maskURLs(list)}}
}

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
	if !slices.ContainsFunc(servers, hasUser) {
		return list
	}
	texts := make([]string, len(servers))
	for i, server := range servers {
		user := ""
		if hasUser(server) {
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

func hasUser(server *url.URL) bool { return server.User != nil }

// parseURLs splits a list. It returns the rule that the list breaks, or "". A
// server without scheme gets nats://, as the client library has it.
func parseURLs(list string) (servers []*url.URL, rule string) {
	websockets := 0
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		server, err := url.Parse(text)
		switch {
		// The error quotes the URL, and so a password.
		case err != nil, server.Hostname() == "", strings.ContainsAny(server.Hostname(), ` @/\`),
			strings.Trim(server.Path, "/") != "", server.RawQuery != "", server.Fragment != "", !validPort(cmp.Or(server.Port(), "1")):
			return nil, "must hold URLs like nats://host:4222, separated by commas"
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, server.Scheme):
			return nil, "must hold URLs of the schemes nats, tls, ws or wss"
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
