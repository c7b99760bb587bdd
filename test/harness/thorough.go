package harness

import (
	"flag"
	"os"
	"strconv"
	"testing"
)

// All reports whether everything is to be tested, as in the pipeline, and not what a
// few minutes allow.
func All() bool { return os.Getenv("TEST_ALL") != "" }

// Thorough skips a test that takes minutes, unless [All].
func Thorough(t testing.TB) {
	t.Helper()
	if !All() {
		t.Skip("it takes minutes: TEST_ALL=1 runs it, and so does .ci/run")
	}
}

// Waiting has more tests run at a time than there are processors, unless -parallel
// says how many: those of a package that mostly wait for other processes. It is for
// TestMain.
func Waiting(tests int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return
	}
	if err := flag.Set("test.parallel", strconv.Itoa(tests)); err != nil {
		panic(err) // the testing package has that flag
	}
}
