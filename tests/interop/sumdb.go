// Reads a folder of C2SP tiles with the code that Go's checksum database is read with (golang.org/x/mod/sumdb):
//
//	go run sumdb.go TILES VKEY OLD-CHECKPOINT [INDEX LEAF-FILE]...
//
// The signature of the checkpoint, that it extends the old one, and that each leaf is where it is said to be. Go's tiles
// lie under another name (tile/8/L/N); what is in them is the same.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type tiles string

func (tiles) Height() int { return 8 }

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (folder tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		bytes, err := os.ReadFile(filepath.Join(string(folder), name))
		if err != nil {
			return nil, err
		}
		found = append(found, bytes)
	}
	return found, nil
}

func main() {
	if err := check(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(args []string) error {
	folder := tiles(args[0])
	verifier, err := note.NewVerifier(read(args[1]))
	if err != nil {
		return err
	}
	tree, err := head(verifier, read(filepath.Join(string(folder), "checkpoint")))
	if err != nil {
		return err
	}
	old, err := head(verifier, read(args[2]))
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, folder)
	growth, err := tlog.ProveTree(tree.N, old.N, reader)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(growth, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return err
	}
	for at := 3; at+1 < len(args); at += 2 {
		index, err := strconv.ParseInt(args[at], 10, 64)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		if err != nil {
			return err
		}
		leaf := tlog.RecordHash([]byte(read(args[at+1])))
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
	}
	fmt.Println(verifier.Name(), old.N, tree.N)
	return nil
}

// head is what a signed checkpoint says (https://c2sp.org/tlog-checkpoint): origin, size, root.
func head(verifier note.Verifier, text string) (tlog.Tree, error) {
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("a checkpoint of %q", lines[0])
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func read(path string) string {
	bytes, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return string(bytes)
}
