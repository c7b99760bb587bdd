package broker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// FuzzDenied reads the server's words for a denial. Whatever they are, they make
// no second line of the log and show no password.
func FuzzDenied(f *testing.F) {
	f.Add(`Permissions Violation for Publish to "$JS.API.INFO"`)
	f.Add(`Permissions Violation for Subscription to "a.>" using queue "q"`)
	f.Add("Permissions Violation for Publish to \"a\nlevel=INFO msg=x\"")
	f.Add(`nats: nats://user:pq7z9x@host: Permissions Violation`)
	f.Add(`://user:pq7z9x@host: an address without its scheme`)
	f.Add(`Permissions Violation for Publish to "_INBOX_passcode-worker.x"`)
	f.Fuzz(func(t *testing.T, words string) {
		err := fmt.Errorf("%w: %s", nats.ErrPermissionViolation, words)
		_, denied, ok := violation(err)
		if ok {
			require.Contains(t, words, `to "`+denied+`"`)
			require.NotEmpty(t, denied)
		}
		_, _, isDenial := violation(errors.New(words))
		require.False(t, isDenial)
		out, e := eventLog()
		e.failed(nil, nil, err)
		require.Equal(t, 1, strings.Count(out.String(), "\n"))
		require.NotContains(t, out.String(), "://user:pq7z9x@")
		if ok {
			logged := out.Len()
			e.failed(nil, nil, err)
			require.Equal(t, logged, out.Len(), "it is logged once")
		}
	})
}

// FuzzRights reads what the server says of our rights. A denial of the very
// subject is never overlooked, and without any restriction nothing is missing.
func FuzzRights(f *testing.F) {
	f.Add([]byte(`{"data":{"user":"u","permissions":{"publish":{"allow":["a.>"],"deny":["a.b"]},"subscribe":{"deny":["x q"]}}}}`), "a.b")
	f.Add([]byte(`{"data":{"user":"u"}}`), "a")
	f.Add([]byte(`{"error":{"code":503}}`), "a")
	f.Add([]byte(`{"data":{"permissions":{"publish":{"allow":["",".","a..b",">.a","*"]}}}}`), "a..b")
	f.Fuzz(func(t *testing.T, data []byte, subject string) {
		permissions, err := readRights(data)
		if err != nil {
			require.Nil(t, permissions)
			return
		}
		for _, direction := range []Direction{Publish, Subscribe} {
			may := permits(permissions, Right{Direction: direction, Subject: subject})
			if permissions == nil {
				require.True(t, may)
				continue
			}
			list := permissions.Publish
			if direction == Subscribe {
				list = permissions.Subscribe
			}
			if list == nil {
				require.True(t, may)
				continue
			}
			for _, deny := range list.Deny {
				if deny == subject && subject != "" && !strings.ContainsFunc(subject, unicode.IsSpace) && !strings.Contains("."+subject+".", "..") {
					require.False(t, may, "%q is denied", subject)
				}
			}
		}
	})
}

// FuzzCheckVersion reads a server's version: an error is one line.
func FuzzCheckVersion(f *testing.F) {
	f.Add("2.11.0-RC.1")
	f.Add("2.10.29\x1b[2J\nlevel=INFO")
	f.Add("99999999999999999999.1")
	f.Fuzz(func(t *testing.T, version string) {
		if err := checkVersion(version); err != nil {
			require.False(t, strings.ContainsFunc(err.Error(), unicode.IsControl), "it would be printed: %q", err.Error())
			require.LessOrEqual(t, len(err.Error()), 200)
		}
	})
}
