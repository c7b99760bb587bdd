package passcode_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/passcode-worker/passcode-worker/passcode"
)

const testSecret = "S3cr3tKeyOfTheTests"

// Confidential holds one value of each type that masks itself, as settings,
// jobs and errors of the worker do. It is exported so that yaml reads it embedded.
type Confidential struct {
	Phone  passcode.Phone
	Code   passcode.Passcode
	Secret passcode.Secret
}

func newConfidential() Confidential {
	return Confidential{
		Phone:  passcode.NewPhone(testPhone),
		Code:   passcode.NewPasscode(testCode),
		Secret: passcode.NewSecret(testSecret),
	}
}

// confidentialError is an error that carries what must not be seen.
type confidentialError struct{ Confidential }

func (e confidentialError) Error() string {
	return fmt.Sprintf("no route to %v with %q and %x", e.Phone, e.Code, e.Secret)
}

// unexported holds the values where fmt, json and slog may not call a method.
type unexported struct {
	phone  passcode.Phone
	code   passcode.Passcode
	secret *passcode.Secret
	deep   *unexported
}

func newUnexported() unexported {
	v := newConfidential()
	return unexported{v.Phone, v.Code, &v.Secret, &unexported{phone: v.Phone, code: v.Code, secret: &v.Secret}}
}

// shapes are the ways in which a value may reach a printer.
func shapes() map[string]any {
	v := newConfidential()
	return map[string]any{
		"the phone itself":        v.Phone,
		"the passcode itself":     v.Code,
		"the secret itself":       v.Secret,
		"pointer to the phone":    &v.Phone,
		"pointer to the passcode": &v.Code,
		"pointer to the secret":   &v.Secret,
		"struct":                  v,
		"pointer to a struct":     &v,
		"struct in a struct":      struct{ Inner *Confidential }{&v},
		"embedded struct":         struct{ Confidential }{v},
		"slice":                   []any{v.Phone, v.Code, v.Secret, &v},
		"array of pointers":       [1]*Confidential{&v},
		"map value":               map[string]any{"phone": v.Phone, "code": v.Code, "secret": &v.Secret},
		"map key":                 map[passcode.Phone]passcode.Passcode{v.Phone: v.Code},
		"job":                     validJob(),
		"pointer to a job":        new(validJob()),
		"unexported fields":       newUnexported(),
		"pointer to unexported":   new(newUnexported()),
		"slice of unexported":     []*unexported{new(newUnexported())},
		"error":                   confidentialError{v},
		"wrapped error":           fmt.Errorf("send: %w", confidentialError{v}),
		"joined errors":           errors.Join(confidentialError{v}, confidentialError{v}),
	}
}

// requireHidden fails where text shows one of the values, in clear, in hex or
// as a list of bytes, which are fmt's other ways to print a string.
func requireHidden(t *testing.T, text string) {
	t.Helper()
	for _, value := range []string{testPhone[3:], testCode, testSecret} {
		bytesOf := strings.Trim(fmt.Sprintf("%d", []byte(value)), "[]")
		for _, form := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), fmt.Sprintf("% x", value), bytesOf} {
			if strings.Contains(text, form) {
				t.Fatalf("a value shows in clear (%d bytes of text)", len(text))
			}
		}
	}
}

func TestNoVerbShowsAValue(t *testing.T) {
	t.Parallel()
	formats := []string{}
	for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "40", "-40", ".3", "40.20"} {
		// Wrong verbs count too: fmt prints the bare fields of what it can't print.
		for _, verb := range "vsqdxXUbcotTeEfFgGaApwz" {
			formats = append(formats, "%"+flags+string(verb))
		}
	}
	for name, value := range shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, format := range formats {
				requireHidden(t, fmt.Sprintf(format, value))
				requireHidden(t, fmt.Errorf(format, value).Error())
			}
			requireHidden(t, fmt.Sprint(value))
			requireHidden(t, fmt.Sprintln("value:", value))
		})
	}
}

func TestNoEncodingShowsAValue(t *testing.T) {
	t.Parallel()
	for name, value := range shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := json.Marshal(value)
			require.NoError(t, err)
			requireHidden(t, string(data))

			data, err = yaml.Marshal(value)
			require.NoError(t, err)
			requireHidden(t, string(data))

			// XML can't write every shape; what it writes must be masked.
			data, _ = xml.Marshal(value)
			requireHidden(t, string(data))
		})
	}
}

func TestNoLogShowsAValue(t *testing.T) {
	t.Parallel()
	handlers := map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	}
	for kind, handler := range handlers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for name, value := range shapes() {
				var b bytes.Buffer
				log := slog.New(handler(&b)).With("bound", value).WithGroup("group")
				log.LogAttrs(context.Background(), slog.LevelInfo, "sent",
					slog.Any("value", value), slog.Group("inner", slog.Any("value", value)))
				require.Contains(t, b.String(), "sent", name)
				requireHidden(t, b.String())
			}
		})
	}
}

func TestWhatIsSeenInstead(t *testing.T) {
	t.Parallel()
	v := newConfidential()
	assert.Equal(t, "{Phone:+86138****5678 Code:**** Secret:****}", fmt.Sprintf("%+v", v))
	assert.Equal(t, "{Phone: Code: Secret:}", fmt.Sprintf("%+v", Confidential{}), "what is absent shows as nothing")

	data, err := json.Marshal(v)
	require.NoError(t, err)
	assert.JSONEq(t, `{"Phone":"+86138****5678","Code":"****","Secret":"****"}`, string(data))

	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("sent", "phone", v.Phone, "code", v.Code, "secret", v.Secret)
	assert.Contains(t, b.String(), "phone=+86138****5678 code=**** secret=****")

	assert.Equal(t, "no route to +86138****5678 with **** and ****", confidentialError{v}.Error())
}

func TestRevealIsTheOnlyWayToTheValue(t *testing.T) {
	t.Parallel()
	v := newConfidential()
	assert.Equal(t, testPhone, v.Phone.Reveal())
	assert.Equal(t, testCode, v.Code.Reveal())
	assert.Equal(t, testSecret, v.Secret.Reveal())
	assert.Empty(t, Confidential{}.Phone.Reveal())
	assert.Empty(t, Confidential{}.Code.Reveal())
	assert.Empty(t, Confidential{}.Secret.Reveal())
	assert.True(t, passcode.NewPhone("").IsZero())
	assert.False(t, v.Phone.IsZero())
	assert.True(t, passcode.NewSecret("").IsZero())
	assert.False(t, v.Secret.IsZero())
}

func TestEqualValuesAreEqual(t *testing.T) {
	t.Parallel()
	// As keys of a map the values are compared with ==, as producers compare them.
	seen := map[any]bool{newConfidential(): true, passcode.NewPhone(""): true, passcode.NewPasscode("0123"): true}
	assert.True(t, seen[newConfidential()], "values compare by what they hold")
	assert.True(t, seen[passcode.Phone{}], "an empty number is an absent one")
	assert.False(t, seen[passcode.NewPasscode("123")], "a leading zero counts")
}

func TestMasked(t *testing.T) {
	t.Parallel()
	rows := []struct{ sentence, phone, masked string }{
		{"a mainland number shows 3 and 4 digits", "+8613812345678", "+86138****5678"},
		{"a US number has a code of one digit", "+12025550123", "+1202****123"},
		{"a Hong Kong number has a code of three", "+85261234567", "+85261****67"},
		{"the longest number hides 5", "+123456789012345", "+1234****2345"},
		{"a short number hides four", "+1234567", "+12****7"},
		{"the shortest with a long code hides all", "+8521234", "+852****"},
		{"no number shows as nothing", "", ""},
		{"national digits show nothing", "13812345678", "****"},
		{"two numbers show nothing", "+8613812345678,+8613812345679", "****"},
		{"a number with spaces shows nothing", "+86 138 1234 5678", "****"},
		{"too few digits show nothing", "+123456", "****"},
		{"too many digits show nothing", "+1234567890123456", "****"},
		{"a plus alone shows nothing", "+", "****"},
		{"words show nothing", "call me", "****"},
	}
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, row.masked, passcode.NewPhone(row.phone).Masked())
		})
	}
}

func TestMaskedHidesAtLeastFourDigits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[0-9]{7,15}`).Draw(t, "digits")
		masked := passcode.NewPhone("+" + digits).Masked()
		head, tail, ok := strings.Cut(strings.TrimPrefix(masked, "+"), "****")
		if !ok || !strings.HasPrefix(digits, head) || !strings.HasSuffix(digits, tail) {
			t.Fatalf("masked form does not begin and end as the number does")
		}
		if hidden := len(digits) - len(head) - len(tail); hidden < 4 {
			t.Fatalf("only %d digits are hidden", hidden)
		}
	})
}

func FuzzMasked(f *testing.F) {
	for _, phone := range []string{"", "+", testPhone, testPhone[1:], "+8613812345678,", "+١٢٣٤٥٦٧٨"} {
		f.Add(phone)
	}
	f.Fuzz(func(t *testing.T, phone string) {
		masked := passcode.NewPhone(phone).Masked()
		if phone == "" {
			if masked != "" {
				t.Fatal("an absent number shows")
			}
			return
		}
		if !strings.Contains(masked, "****") || strings.Trim(masked, "+*0123456789") != "" || len(masked) > 16 {
			t.Fatal("the masked form is not made of digits and stars alone")
		}
	})
}
