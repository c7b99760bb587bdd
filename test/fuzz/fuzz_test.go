package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRead(t *testing.T) {
	t.Parallel()
	at := target{pkg: "p", dir: "/m/p", name: "FuzzX"}
	const progress = "fuzz: elapsed: 0s, gathering baseline coverage: 0/9 completed\n" +
		"fuzz: elapsed: 3s, execs: 325017 (108336/sec), new interesting: 11 (total: 202)\n" +
		"fuzz: elapsed: 6s, execs: 680218 (118402/sec), new interesting: 12 (total: 203)\n"
	for _, row := range []struct {
		sentence string
		output   string
		success  bool
		want     report
	}{
		{"the last line counts", progress + "PASS\nok  p 6.1s\n", true, report{result: passed, took: 6e9, execs: "680218", found: "12"}},
		{"one that ended at once has no count", "PASS\n", true, report{result: passed}},
		{
			"a new input that fails",
			progress + "--- FAIL: FuzzX (0.02s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:9: no\n\n    Failing input written to testdata/fuzz/FuzzX/be3\n    To re-run:\n    go test -run=FuzzX/be3\nFAIL\n", false,
			report{result: failed, took: 6e9, execs: "680218", found: "12", input: "/m/p/testdata/fuzz/FuzzX/be3"},
		},
		{
			"a kept input that fails",
			"--- FAIL: FuzzX (0.00s)\n    --- FAIL: FuzzX/be3 (0.00s)\n        x_test.go:9: no\nFAIL\n", false,
			report{result: failed, input: "/m/p/testdata/fuzz/FuzzX/be3"},
		},
		{
			"a seed in the code that fails",
			"failure while testing seed corpus entry: FuzzX/seed#0\n--- FAIL: FuzzX (0.00s)\nFAIL\n", false,
			report{result: failed, input: "the target's own seed#0"},
		},
		{"the end of the time is no failure", progress + "--- FAIL: FuzzX (6.10s)\n    context deadline exceeded\nFAIL\nexit status 1\n", false, report{result: passed, took: 6e9, execs: "680218", found: "12"}},
		{
			"the end of the time, told at length (GOFLAGS=-v)",
			"=== RUN   FuzzX\n" + progress + "--- FAIL: FuzzX (6.01s)\n    context deadline exceeded\n=== NAME  \nFAIL\nexit status 1\nFAIL\tp\t6.026s\n", false,
			report{result: passed, took: 6e9, execs: "680218", found: "12"},
		},
		{"nor hides it one", "--- FAIL: FuzzX (6.10s)\n    context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzX/be3\nFAIL\n", false, report{result: failed, input: "/m/p/testdata/fuzz/FuzzX/be3"}},
		{"what does not build fails", "# p\nx_test.go:1:1: expected 'package'\nFAIL p [setup failed]\n", false, report{result: failed}},
	} {
		row.want.target = at
		got := read(at, row.output, row.success)
		assert.Equal(t, got.result == failed, got.output != "", row.sentence)
		got.output = ""
		assert.Equal(t, row.want, got, row.sentence)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	table(&out, []report{
		{target: target{pkg: "passcode", name: "FuzzDecode"}, result: passed, took: 600_400_000_000, execs: "48020", found: "3"},
		{target: target{pkg: "internal/x", name: "FuzzY"}, result: failed, took: 1_000_000_000, input: "/m/internal/x/testdata/fuzz/FuzzY/be3"},
		{target: target{pkg: "internal/x", name: "FuzzZ"}, result: skipped},
	})
	assert.Equal(t, `
TARGET               TIME   EXECS  NEW  END
passcode.FuzzDecode  10m0s  48020  3    ok
internal/x.FuzzY     1s     -      -    FAILED
internal/x.FuzzZ     0s     -      -    stopped

internal/x.FuzzY failed; the input: /m/internal/x/testdata/fuzz/FuzzY/be3
again: go test -run='^FuzzY$' ./internal/x
`, out.String())
}

// A target that is not found would never be run, and nobody would know.
func TestFindKnowsEachTargetOfTheModule(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	var declared int
	require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if filepath.Base(filepath.Dir(path)) != "fuzz" { // ours, which hold programs as texts
			declared += strings.Count(string(text), "\nfunc Fuzz")
		}
		return err
	}))
	all, err := find(t.Context(), root, nil, regexp.MustCompile(""))
	require.NoError(t, err)
	assert.Len(t, all, declared)
	assert.Greater(t, declared, 20)

	one, err := find(t.Context(), root, []string{"./internal/..."}, regexp.MustCompile(`^internal/phone\.FuzzP`))
	require.NoError(t, err)
	require.Len(t, one, 1)
	assert.Equal(t, target{pkg: "internal/phone", dir: filepath.Join(root, "internal/phone"), name: "FuzzParse"}, one[0])

	_, err = find(t.Context(), root, nil, regexp.MustCompile("FuzzNobodyWrote"))
	require.ErrorContains(t, err, "no such fuzz target")
	_, err = find(t.Context(), root, []string{"./nowhere"}, regexp.MustCompile(""))
	require.ErrorContains(t, err, "go list")
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-time", "0s"}, {"-jobs", "0"}, {"-parallel", "0"}, {"-match", "("}, {"-x"}, {"-list", "./nowhere"}} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, 2, run(t.Context(), args, &stdout, &stderr), args)
		assert.NotEmpty(t, stderr.String(), args)
		assert.Empty(t, stdout.String(), args)
	}
}

// A module with one sound target, one that fails and one that is never reached.
func TestRunStopsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("go.mod", "module example.org/m\n\ngo 1.26\n")
	write("x_test.go", `package m

import "testing"

func FuzzA(f *testing.F) {
	f.Fuzz(func(*testing.T, int) {})
}
`)
	write("y_test.go", `package m

import "testing"

func FuzzB(f *testing.F) {
	f.Add(1)
	f.Fuzz(func(t *testing.T, n int) {
		if n != 1 {
			t.Fatal("found it")
		}
	})
}

func FuzzC(f *testing.F) {
	f.Fuzz(func(*testing.T, int) {})
}
`)
	targets, err := find(t.Context(), dir, nil, regexp.MustCompile(""))
	require.NoError(t, err)
	require.Len(t, targets, 3)
	var progress bytes.Buffer
	reports := plan{dir: dir, time: 3_000_000_000, jobs: 1, parallel: 1}.run(t.Context(), targets, &progress)
	require.Len(t, reports, 3)
	assert.Equal(t, passed, reports[0].result, reports[0].output)
	assert.NotEmpty(t, reports[0].execs)
	assert.Equal(t, failed, reports[1].result)
	assert.Equal(t, skipped, reports[2].result, "another has failed")
	assert.Contains(t, progress.String(), "found it")
	kept, err := os.ReadFile(reports[1].input)
	require.NoError(t, err, "the input is where the report says")
	assert.Contains(t, string(kept), "go test fuzz v1")
}
