package ratelimit

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzStoredKey opens a limiter on whatever lies where the HMAC key should. It is
// a key, or an error that shows nothing of it and leaves it as it is: another key
// would forget every phone.
func FuzzStoredKey(f *testing.F) {
	f.Add([]byte(strings.Repeat("0f", hmacKeyLen)))
	f.Add([]byte(strings.Repeat("0F", hmacKeyLen)))
	f.Add([]byte(strings.Repeat("0f", hmacKeyLen) + "\n"))
	f.Add([]byte(strings.Repeat("zz", hmacKeyLen)))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 {
			t.Skip("there is no key then, and one is made")
		}
		s := newMapStore()
		s.set(hmacKeyName, text)
		k := ring(s, newClock())
		key, err := k.current(t.Context())
		left, _, getErr := s.Get(t.Context(), hmacKeyName)
		require.NoError(t, getErr)
		require.Equal(t, text, left)
		if err != nil {
			require.ErrorIs(t, err, errBadKey)
			require.Equal(t, errBadKey.Error(), err.Error(), "a fixed text")
			return
		}
		require.Len(t, key, hmacKeyLen)
		require.True(t, bytes.EqualFold(text, []byte(hex.EncodeToString(key))))
		name, err := k.name(t.Context(), phoneA)
		require.NoError(t, err)
		require.Len(t, name, 64)
		require.NotContains(t, name, phoneA.Reveal()[1:])
		other, err := k.name(t.Context(), phoneB)
		require.NoError(t, err)
		require.NotEqual(t, name, other)
	})
}
