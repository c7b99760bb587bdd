package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

// retired are the words that docs/glossary.md replaces, each with its term. A word
// may be several, such as "under way".
func retired(t *testing.T) map[string]string {
	t.Helper()
	words := map[string]string{}
	rows := strings.Split(table(t, read(t, "glossary.md").text, "| term |"), "\n| ")
	for _, row := range rows[1:] {
		cells := strings.Split(row, "|")
		require.Len(t, cells, 4, row)
		for _, word := range strings.Split(cells[2], ",") {
			if word = strings.TrimSpace(word); word != "" {
				words[word] = strings.TrimSpace(cells[0])
			}
		}
	}
	require.Greater(t, len(words), 20)
	return words
}

// text is something that must keep to the glossary.
type text struct {
	where    token.Position
	what     string // "identifier"
	words    string // in small letters, with a space before and after each
	sentence bool
}

// everyday are retired words that a sentence may hold in their everyday meaning. The
// name of a test is one.
var everyday = []string{"way", "place", "room", "turn", "learn", "finish"}

var testName = regexp.MustCompile(`^(Test|Benchmark|Fuzz|Example)`)

func newText(where token.Position, what, s string) text {
	var words strings.Builder
	var before rune
	for _, r := range s {
		switch {
		case !unicode.IsLetter(r):
			words.WriteByte(' ')
		case unicode.IsUpper(r) && unicode.IsLower(before):
			words.WriteString(" " + string(unicode.ToLower(r)))
		default:
			words.WriteRune(unicode.ToLower(r))
		}
		before = r
	}
	return text{
		where: where, what: what, words: " " + strings.Join(strings.Fields(words.String()), " ") + " ",
		sentence: what == "message" || what == "help" || testName.MatchString(s),
	}
}

// TestGlossary: no identifier, log message, error, command's help or heading uses a
// word that the glossary retired. Comments and other prose may, where it has its
// everyday meaning, and so may names that are published: a string that is no
// sentence isn't looked at.
func TestGlossary(t *testing.T) {
	t.Parallel()
	words := retired(t)
	root, err := harness.Root()
	require.NoError(t, err)
	var texts []text
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "bin" || strings.HasPrefix(entry.Name(), ".git")):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			found, err := goTexts(path)
			texts = append(texts, found...)
			return err
		case strings.HasSuffix(path, ".md"):
			found, err := headings(path)
			texts = append(texts, found...)
			return err
		}
		return nil
	}))
	require.Greater(t, len(texts), 5000)
	for _, text := range texts {
		for _, word := range slices.Sorted(maps.Keys(words)) {
			if text.sentence && slices.Contains(everyday, word) {
				continue
			}
			if strings.Contains(text.words, " "+word+" ") {
				where, _ := filepath.Rel(root, text.where.Filename)
				assert.Fail(t, "a retired word", "%s:%d: %s%suses %q; the glossary says %q",
					where, text.where.Line, text.what, text.words, word, words[word])
			}
		}
	}
}

var heading = regexp.MustCompile(`^#+ `)

func headings(path string) ([]text, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var found []text
	for i, line := range strings.Split(string(data), "\n") {
		if heading.MatchString(line) {
			found = append(found, newText(token.Position{Filename: path, Line: i + 1}, "heading", line))
		}
	}
	return found, nil
}

// goTexts returns the names that a file declares, and what it logs, returns as an
// error or says as a command's help.
func goTexts(path string) ([]text, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []text
	add := func(node ast.Node, what, s string) { found = append(found, newText(set.Position(node.Pos()), what, s)) }
	name := func(idents ...*ast.Ident) {
		for _, ident := range idents {
			add(ident, "identifier", ident.Name)
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			name(n.Name)
		case *ast.TypeSpec:
			name(n.Name)
		case *ast.ValueSpec:
			name(n.Names...)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, left := range n.Lhs {
					if ident, ok := left.(*ast.Ident); ok {
						name(ident)
					}
				}
			}
		case *ast.Field:
			name(n.Names...)
			if n.Tag != nil {
				tag, _ := strconv.Unquote(n.Tag.Value)
				add(n, "help", reflect.StructTag(tag).Get("help"))
			}
		case *ast.CallExpr:
			if i, ok := message[called(n)]; ok && len(n.Args) > i {
				if literal, ok := n.Args[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
					s, _ := strconv.Unquote(literal.Value)
					add(literal, "message", s)
				}
			}
		}
		return true
	})
	return found, nil
}

// message says which argument of a function is a message.
var message = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1,
	"Log": 2, "LogAttrs": 2, "New": 0, "Errorf": 0,
}

func called(call *ast.CallExpr) string {
	if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
		return selector.Sel.Name
	}
	return ""
}
