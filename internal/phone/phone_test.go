package phone

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const refused = ""
	tests := []struct {
		name, number  string
		loose, strict string // canonical forms
	}{
		{"bare mainland mobile", "13812345678", "+8613812345678", refused},
		{"country code without plus", "8613812345678", "+8613812345678", "+8613812345678"},
		{"00 means a country code follows", "008613812345678", "+8613812345678", "+8613812345678"},
		{"E.164", "+8613812345678", "+8613812345678", "+8613812345678"},
		{"US with plus is never mainland", "+18624017194", "+18624017194", "+18624017194"},
		{"US with 00 is never mainland", "0018624017194", "+18624017194", "+18624017194"},
		{"US digits that are a mainland mobile too", "18624017194", "+8618624017194", "+18624017194"},
		{"US digits that are no mainland mobile", "15417543010", "+15417543010", "+15417543010"},
		{"US digits whose area code begins with 2", "12125550123", "+12125550123", "+12125550123"},
		{"Hong Kong", "85268326366", "+85268326366", "+85268326366"},
		{"Macao", "85362123456", "+85362123456", "+85362123456"},
		{"Taiwan", "886912345678", "+886912345678", "+886912345678"},
		{"Singapore", "+6581234567", "+6581234567", "+6581234567"},
		{"Italian numbers keep their zero", "+390612345678", "+390612345678", "+390612345678"},
		{"British trunk zero", "+44 (0)7911 123456", "+447911123456", "+447911123456"},
		{"spaces", "+86 138 1234 5678", "+8613812345678", "+8613812345678"},
		{"spaces around", " 13812345678 ", "+8613812345678", refused},
		{"hyphens", "138-1234-5678", "+8613812345678", refused},
		{"dots and parentheses", "+1 (862) 401.7194", "+18624017194", "+18624017194"},
		{"plus in parentheses", "(+86) 138 1234 5678", "+8613812345678", "+8613812345678"},
		{"00 with spaces", "00 86 138 1234 5678", "+8613812345678", "+8613812345678"},

		{"mainland, but not a mobile", "8610012345678", refused, refused},
		{"mainland landline", "+861062345678", refused, refused},
		{"mainland service number", "+864001234567", refused, refused},
		{"mainland, a digit short", "1381234567", refused, refused},
		{"mainland, a digit long", "138123456789", refused, refused},
		{"trunk zero without country code", "013812345678", refused, refused},
		{"00 without country code", "0013812345678", refused, refused},
		{"plus and 00", "+008613812345678", refused, refused},
		{"no such country", "+99912345678", refused, refused},
		{"empty", "", refused, refused},
		{"separators only", " -.()", refused, refused},
		{"plus only", "+", refused, refused},
		{"zeros only", "0000000000", refused, refused},
		{"emergency number", "110", refused, refused},
		{"country code only", "+86", refused, refused},
		{"two numbers with a comma", "13812345678,13912345678", refused, refused},
		{"comma at the end", "13812345678,", refused, refused},
		{"comma within", "+86138,12345678", refused, refused},
		{"full-width comma", "13812345678，13912345678", refused, refused},
		{"two numbers with a semicolon", "13812345678;13912345678", refused, refused},
		{"two numbers with a slash", "13812345678/13912345678", refused, refused},
		{"two numbers with a space", "13812345678 13912345678", refused, refused},
		{"two numbers with plus", "+8613812345678 +8613912345678", refused, refused},
		{"two numbers with a hyphen", "13812345678-13912345678", refused, refused},
		{"two numbers on two lines", "13812345678\n13912345678", refused, refused},
		{"two plus", "++8613812345678", refused, refused},
		{"plus at the end", "8613812345678+", refused, refused},
		{"extension x", "+18624017194x123", refused, refused},
		{"extension ext.", "+18624017194 ext. 123", refused, refused},
		{"extension ;ext=", "+18624017194;ext=123", refused, refused},
		{"extension #", "+18624017194#123", refused, refused},
		{"pause ~", "+18624017194~123", refused, refused},
		{"RFC 3966", "tel:+8613812345678", refused, refused},
		{"phone context", "13812345678;phone-context=+86", refused, refused},
		{"vanity letters", "1-800-FLOWERS", refused, refused},
		{"a name before", "Ann 13812345678", refused, refused},
		{"full-width digits", "１３８１２３４５６７８", refused, refused},
		{"full-width plus", "＋8613812345678", refused, refused},
		{"Arabic digits", "١٣٨١٢٣٤٥٦٧٨", refused, refused},
		{"no-break space", "+86\u00a013812345678", refused, refused},
		{"direction mark, as copied from a contact", "\u202a+8613812345678\u202c", refused, refused},
		{"tab", "138\t12345678", refused, refused},
		{"NUL", "13812345678\x00", refused, refused},
		{"not UTF-8", "13812345678\xff", refused, refused},
		{"query separator", "13812345678&SignName=x", refused, refused},
		{"wildcard", "1381234567*", refused, refused},
		{"minus sign U+2212", "138−1234−5678", refused, refused},
		{"parenthesis left open", "(138 1234 5678", refused, refused},
		{"parenthesis never opened", "138) 1234 5678", refused, refused},
		{"parentheses nested", "((138)) 1234 5678", refused, refused},
		{"exponent", "1.3812345678e10", refused, refused},
		{"16 digits", "+8613812345678000", refused, refused},
		{"very long", strings.Repeat("1", 8192), refused, refused},
		{"padded beyond measure", strings.Repeat(" ", 100) + "13812345678", refused, refused},
	}
	for _, test := range tests {
		for _, strict := range []bool{false, true} {
			want := test.loose
			if strict {
				want = test.strict
			}
			t.Run(fmt.Sprintf("%s, strict %t", test.name, strict), func(t *testing.T) {
				t.Parallel()
				got, err := Parser{Strict: strict}.Parse(passcode.NewPhone(test.number))
				if want != refused {
					require.NoError(t, err)
					assert.Equal(t, want, got.Reveal())
					return
				}
				requireRefusal(t, got, err)
			})
		}
	}
}

// requireRefusal holds an error of Parse to its promises.
func requireRefusal(t *testing.T, got passcode.Phone, err error) {
	t.Helper()
	var invalid *passcode.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Problems, 1)
	assert.Equal(t, "phone", invalid.Problems[0].Field)
	assert.NotEmpty(t, invalid.Problems[0].Rule)
	assert.True(t, got.IsZero(), "a refused number must not be returned")
	// Rules are fixed texts, so whatever was given can't stand in them.
	assert.Contains(t, []string{ruleEmpty, ruleLength, ruleCharacters, ruleInvalid, ruleMobile}, invalid.Problems[0].Rule)
	assert.NotRegexp(t, `[0-9]{4}`, err.Error())
}

func TestParseNamesTheRule(t *testing.T) {
	t.Parallel()
	for number, rule := range map[string]string{
		"":                        ruleEmpty,
		"13812345678,13912345678": ruleCharacters,
		"13812345678 13912345678": ruleLength,
		"+99912345678":            ruleInvalid,
		"+861062345678":           ruleMobile,
	} {
		_, err := Parser{}.Parse(passcode.NewPhone(number))
		assert.EqualError(t, err, "invalid job: phone: "+rule, "number %q", number)
	}
}

func TestMainland(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]bool{
		"+8613812345678":  true,
		"+8619912345678":  true,
		"+18624017194":    false,
		"+85268326366":    false,
		"+85362123456":    false,
		"+886912345678":   false,
		"+861062345678":   false,
		"13812345678":     false, // not canonical
		"8613812345678":   false,
		"+86138123456789": false,
		"+86":             false,
		"":                false,
	} {
		assert.Equal(t, want, Mainland(passcode.NewPhone(number)), "number %q", number)
	}
}

// TestParseExamples parses an example of a mobile number of each region that
// libphonenumber knows, all at once: the library fills its caches on first use,
// and the race detector watches it do so.
func TestParseExamples(t *testing.T) {
	t.Parallel()
	regions := phonenumbers.GetSupportedRegions()
	require.Greater(t, len(regions), 200)
	var wait sync.WaitGroup
	for region := range regions {
		example := phonenumbers.GetExampleNumberForType(region, phonenumbers.MOBILE)
		if example == nil || !phonenumbers.IsValidNumber(example) {
			continue
		}
		want := phonenumbers.Format(example, phonenumbers.E164)
		for _, text := range []string{
			want, "00" + want[1:], phonenumbers.Format(example, phonenumbers.INTERNATIONAL),
		} {
			for _, strict := range []bool{false, true} {
				wait.Go(func() {
					got, err := Parser{Strict: strict}.Parse(passcode.NewPhone(text))
					assert.NoError(t, err, "region %s, %q", region, text)
					assert.Equal(t, want, got.Reveal(), "region %s, %q", region, text)
				})
			}
		}
	}
	wait.Wait()
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"13812345678", "8613812345678", "008613812345678", "+8613812345678", "+18624017194", "18624017194",
		"85268326366", "8610012345678", "+86 138 1234 5678", "13812345678,13912345678", "+44 (0)7911 123456",
		"+54 11 15 2345 6789", "+390612345678", "+5215512345678", "", "+", "00", "+1;ext=5", "１３８",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, strict bool) {
		parser := Parser{Strict: strict}
		got, err := parser.Parse(passcode.NewPhone(text))
		if err != nil {
			requireRefusal(t, got, err)
			return
		}
		canonical := got.Reveal()
		digits, ok := strings.CutPrefix(canonical, "+")
		require.True(t, ok, "no leading +")
		require.Empty(t, strings.Trim(digits, "0123456789"), "other characters than digits")
		require.LessOrEqual(t, len(digits), 15)
		require.GreaterOrEqual(t, len(digits), 7, "too short to be masked")

		// A canonical number means the same to either kind of parser.
		for _, strict := range []bool{false, true} {
			again, err := Parser{Strict: strict}.Parse(got)
			require.NoError(t, err)
			require.Equal(t, canonical, again.Reveal())
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, number := range []string{"13812345678", "+8613812345678", "+18624017194"} {
		b.Run(number, func(b *testing.B) {
			given := passcode.NewPhone(number)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (Parser{}).Parse(given); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
