package leaks_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/harness/leaks"
)

// national and code are put together here, because this file is searched for
// passcodes as every other test is.
const (
	national = "13812345678"
	passcode = "58" + "3914"
)

func find(t *testing.T, text string) []leaks.Leak {
	t.Helper()
	found, err := leaks.Find(strings.NewReader(text), []string{"a1B2c3", passcode})
	require.NoError(t, err)
	return found
}

func TestFindSeesAPhoneNumber(t *testing.T) {
	t.Parallel()
	for sentence, line := range map[string]string{
		"bare digits":                   national,
		"in E.164":                      "to +86" + national + ", at once",
		"with the code, without a plus": `"phone":"86` + national + `"`,
		"with the old prefix":           "0086" + national,
		"in a query":                    "GET /?PhoneNumbers=" + national + "&SignName=x",
		"in an escaped query":           "PhoneNumbers%3D%2B86" + national + "%26SignName",
		"in an escaped query, bare":     "PhoneNumbers%3D" + national + "%26SignName",
		"in escaped JSON":               `{\"phone\":\"\u002b86` + national + `\"}`,
		"after an escaped line break":   `a\n` + national,
		"in the name of a subtest":      "=== RUN   TestX/+86" + national,
		"in the braces of a dump":       "{{+86" + national + "}}",
		"one of two with a comma":       "x" + national + "," + national,
	} {
		found := find(t, "fine\n"+line+"\n")
		require.Len(t, found, 1, sentence)
		assert.Equal(t, 2, found[0].Line, sentence)
		assert.Equal(t, "a whole phone number", found[0].What, sentence)
		assert.Empty(t, find(t, found[0].Text), "the report does not leak it again: %s", sentence)
	}
}

func TestFindSeesAPasscode(t *testing.T) {
	t.Parallel()
	for sentence, line := range map[string]string{
		"alone":                       passcode,
		"quoted":                      `"code":"` + passcode + `"`,
		"letters and digits":          "code=a1B2c3",
		"in a query":                  "TemplateParam=%7B%22code%22%3A%22" + passcode + "%22%7D",
		"in a sentence":               "Your code is " + passcode + ".",
		"after a colon, not a number": "code:" + passcode,
		"in a dump":                   "{" + passcode + "}",
	} {
		found := find(t, line)
		require.Len(t, found, 1, sentence)
		assert.Equal(t, "a passcode", found[0].What, sentence)
		assert.NotContains(t, found[0].String(), passcode, sentence)
	}
}

func TestFindLeavesTheHarmlessAlone(t *testing.T) {
	t.Parallel()
	for sentence, line := range map[string]string{
		"a masked number":                      "+86138****5678",
		"a receipt":                            "900619746936498440^0",
		"a time in milliseconds":               "1764000000123",
		"a time in nanoseconds":                "1764000000123456789",
		"a number inside a longer one":         "9" + national,
		"digits inside a hash":                 "ab" + national + "cd",
		"digits at the start of a UUID's part": "B39CB1F7-6C2E-4F0A-9D1E-" + national + "A",
		"digits at the end of one":             "B39CB1F7-6C2E-4F0A-9D1E-A" + national,
		"an overseas number":                   "+85261234567",
		"a fraction of a second":               "2026-03-01T08:00:00." + passcode + "Z",
		"a duration":                           "(1." + passcode + "s)",
		"a passcode inside a longer number":    passcode + "1",
		"a passcode inside an identifier":      "req-x" + passcode,
		"a command that testscript repeats":    "        > exec worker send --phone +86" + national + " --code " + passcode,
		"one with a condition":                 "        > [linux] ! exec worker limits reset +86" + national,
		"the same, where it is to fail":        "> ! worker send --phone " + national,
	} {
		assert.Empty(t, find(t, line), sentence)
	}
}

func TestFindReportsEachKindOnALine(t *testing.T) {
	t.Parallel()
	found := find(t, "sent "+passcode+" to "+national+" "+national)
	require.Len(t, found, 2)
	assert.Equal(t, "line 1: a whole phone number: sent **** to **** ****", found[0].String())
	assert.Equal(t, "a passcode", found[1].What)
}

func TestFindReadsLinesOfAnyLength(t *testing.T) {
	t.Parallel()
	assert.Len(t, find(t, strings.Repeat("x ", 1<<16)+national), 1)
	_, err := leaks.Find(iotest.ErrReader(errors.New("disk gone")), nil)
	assert.ErrorContains(t, err, "disk gone")
}

func TestCodesCollectsThePasscodesOfTheTests(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tree := fstest.MapFS{
		"a/a_test.go": file("passcode.NewPasscode(\"10" + "0001\")\n`{\"code\":\"10" + "0002\"}` \"{\\\"code\\\": \\\"10" + "0003\\\"}\"\n" +
			"const testCode = \"10" + "0004\"\nrun(\"--code\", \"10" + "0005\")"),
		"b/testdata/send.txtar": file("worker send --code 10" + "0006 --code=10" + "0001"),
		"b/testdata/job.json":   file(`{"code": "10` + `0007"}`),
		"b/a.go":                file(`NewPasscode("20` + `0001")`),
		"c/c_test.go":           file(`NewPasscode("letter") NewPasscode("1234") NewPasscode("1234567") Code: "timeout"`),
		"bin/x_test.go":         file(`NewPasscode("20` + `0002")`),
		".git/x_test.go":        file(`NewPasscode("20` + `0003")`),
	}
	codes, err := leaks.Codes(tree)
	require.NoError(t, err)
	want := make([]string, 0, 7)
	for _, last := range "1234567" {
		want = append(want, "10"+"000"+string(last))
	}
	assert.Equal(t, want, codes)
}
