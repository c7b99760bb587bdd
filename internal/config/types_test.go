package config

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Bytes{
		"1": 1, "1024": 1 << 10, "7B": 7, "1KiB": 1 << 10, "512MiB": 512 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40,
		"1KB": 1e3, "500MB": 5e8, "1GB": 1e9, "3TB": 3e12, "1gib": 1 << 30, "1 GiB": 1 << 30,
		"9223372036854775807": math.MaxInt64,
	} {
		got, ok := parseBytes(text)
		require.True(t, ok, "%q", text)
		assert.Equal(t, want, got, "%q", text)
	}
	for _, text := range []string{
		"", "GiB", "1G", "1.5GiB", "1e3", "0x10", "1GiBs", "one", "1 2GiB", "9223372036854775808", "9007199254740992TiB", "８", "0", "-1", "0KiB",
	} {
		_, ok := parseBytes(text)
		require.False(t, ok, "%q", text)
	}
	for want, size := range map[string]Bytes{
		"1": 1, "1023": 1023, "1KiB": 1 << 10, "512MiB": 512 << 20, "1GiB": 1 << 30, "1GB": 1e9, "1500MB": 15e8, "1536MiB": 3 << 29,
	} {
		assert.Equal(t, want, written(t, size))
	}
}

func written(t require.TestingT, size Bytes) string {
	text, err := size.MarshalText()
	require.NoError(t, err)
	return string(text)
}

func TestBytesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := Bytes(rapid.Int64Min(1).Draw(t, "size"))
		again, ok := parseBytes(written(t, size))
		require.True(t, ok)
		require.Equal(t, size, again)
	})
}

func TestServerURLsMask(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"":                                   "",
		"nats://127.0.0.1:4222":              "nats://127.0.0.1:4222",
		"localhost, nats://b":                "localhost, nats://b",
		"nats://a:s3cret@h:1":                "nats://a:****@h:1",
		"nats://a:s3%2Ccret@h:1, tls://h2:2": "nats://a:****@h:1,tls://h2:2",
		"nats://s3cret@h:1":                  "nats://****@h:1", // a token
		"a:s3cret@h:1":                       "nats://a:****@h:1",
		"nats://a:@h":                        "nats://****@h",
		"wss://a:s3@cret@[::1]:443":          "wss://a:****@[::1]:443",
		"nats://a:s3,cret@h:1":               "****",
		"http://a:s3cret@h":                  "****",
		"nats://h/?token=s3cret":             "****",
		"nats://h#s3cret":                    "****",
		"nats://a:s3cret%@h:x":               "****",
	} {
		assert.Equal(t, want, NewServerURLs(list).String(), "%q", list)
		assert.Equal(t, list, NewServerURLs(list).Reveal())
	}
}

func TestKeyIDMask(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{"": "", "a": "****", "1234567": "****", "LTAI5tTestKeyId": "LTAI****"} {
		assert.Equal(t, want, NewKeyID(id).String())
		assert.Equal(t, id, NewKeyID(id).Reveal())
	}
}

// FuzzBytes: a size that was read is read the same from what is shown of it.
func FuzzBytes(f *testing.F) {
	for _, seed := range []string{"1GiB", "-1", "9223372036854775807", "8388608TiB", " 5 kb", "0B", "1e9", "٣MB", "007 KiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, ok := parseBytes(text)
		if !ok {
			return
		}
		again, ok := parseBytes(written(t, size))
		require.True(t, ok)
		require.Equal(t, size, again)
	})
}

// FuzzServerURLs: no way of printing a list of servers shows the password or the
// token in it, wherever in the list it stands.
func FuzzServerURLs(f *testing.F) {
	f.Add("", "")
	f.Add("nats://a:4222,", ",tls://b")
	f.Add("ws://x@", "/?y#z")
	f.Add("%zz,", "@@")
	const secret = "pq7z9xSecret"
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, user := range []string{"user:" + secret, secret} {
			list := NewServerURLs(before + "nats://" + user + "@host" + after)
			if strings.ContainsAny(before, ":/@") && !strings.HasSuffix(strings.TrimSpace(before), ",") {
				continue // the rest stands in another URL, and is no user there
			}
			for _, shown := range []string{list.String(), fmt.Sprintf("%v %+v %#v %s %q %d", list, list, list, list, list, list)} {
				require.NotContains(t, shown, secret)
			}
		}
	})
}
