package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzBytes: a size that was read is read the same from what is shown of it.
func FuzzBytes(f *testing.F) {
	for _, seed := range []string{"1GiB", "-1", "9223372036854775807", "8388608TiB", " 5 kb", "0B", "1e9", "٣MB", "007 KiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var size, again Bytes
		if err := size.UnmarshalText([]byte(text)); err != nil {
			require.ErrorIs(t, err, errNotBytes)
			require.Equal(t, errNotBytes.Error(), err.Error(), "nothing of the text is quoted")
			return
		}
		require.NoError(t, again.UnmarshalText([]byte(size.String())))
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
			for _, shown := range []string{list.String(), fmt.Sprintf("%v %+v %#v %s %q %d", list, list, list, list, list, list), list.LogValue().String()} {
				require.NotContains(t, shown, secret)
			}
		}
	})
}
