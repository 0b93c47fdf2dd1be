"""What a survey asks its database, in SQL."""

from __future__ import annotations

from infocl.data.folder.layouts import PARTS

PRETRAIN = "pretrain"  # the split of all training images, where some have no class
SPLITS = (*PARTS, PRETRAIN)
# Names and classes are bytes, because a file system's names need not be text.
TABLES = """
DROP TABLE IF EXISTS found; DROP TABLE IF EXISTS files; DROP TABLE IF EXISTS kept;
CREATE TABLE found (name BLOB, key BLOB, part INTEGER, label BLOB);
CREATE TABLE files (position INTEGER PRIMARY KEY, name BLOB, part INTEGER, label BLOB,
                    digest BLOB, kind TEXT, reason TEXT);
CREATE TABLE kept (part INTEGER, rank INTEGER, name BLOB, label BLOB, digest BLOB,
                   PRIMARY KEY (part, rank)) WITHOUT ROWID;
"""
IN_ORDER = (
    "INSERT INTO files (position, name, part, label) "
    "SELECT row_number() OVER (ORDER BY part, label, key) - 1, name, part, label FROM found"
)
TINY = (
    "UPDATE files SET kind = 'tiny', reason = 'is ' || size || ' px' "
    "FROM (SELECT digest, width || ' x ' || height AS size FROM facts WHERE min(width, height) < ?) AS small "
    "WHERE kind IS NULL AND files.digest = small.digest"
)
CONSTANT = (
    "UPDATE files SET kind = 'near-constant', reason = 'varies by ' || contrast || ' grey levels' "
    "FROM (SELECT digest, contrast FROM facts WHERE contrast < ?) AS flat "
    "WHERE kind IS NULL AND files.digest = flat.digest"
)
SHOWN = "SELECT files.*, pixels FROM files JOIN facts USING (digest) WHERE kind IS NULL"
# Which class is right is not known, so none of these counts.
CONFLICTING = (
    f"WITH shown AS ({SHOWN} AND label IS NOT NULL), "
    "firsts AS (SELECT pixels, label, name, min(position) AS position FROM shown GROUP BY pixels, label), "
    "labels AS (SELECT *, row_number() OVER (PARTITION BY pixels ORDER BY position) AS nth FROM firsts) "
    "UPDATE files SET kind = 'conflicting labels', reason = 'has the same pixels as ' || "
    "  CAST(CASE WHEN files.label IS one.label THEN two.name ELSE one.name END AS TEXT) || "
    "  ', which is in another class' "
    "FROM shown JOIN labels AS one USING (pixels) JOIN labels AS two USING (pixels) "
    "WHERE one.nth = 1 AND two.nth = 2 AND files.position = shown.position"
)
# Of equal images the first counts; of those in both splits the one in the test split, which is compared with;
# of those with and without a class the one that has it.
EQUAL = (
    f"WITH shown AS ({SHOWN}), ranked AS (SELECT *, row_number() OVER "
    "  (PARTITION BY pixels ORDER BY part DESC, label IS NULL, position) AS nth FROM shown) "
    "UPDATE files SET reason = CASE WHEN files.digest = first.digest THEN 'has the same content as ' "
    "  ELSE 'has the same pixels as ' END || CAST(first.name AS TEXT), "
    "  kind = CASE WHEN files.part IS NOT first.part THEN 'in both splits' ELSE 'duplicate' END "
    "FROM shown JOIN (SELECT * FROM ranked WHERE nth = 1) AS first USING (pixels) "
    "WHERE files.position = shown.position AND files.position != first.position"
)
KEEP = (
    "INSERT INTO kept SELECT part, row_number() OVER (PARTITION BY part ORDER BY position) - 1, "
    "name, label, digest FROM files WHERE kind IS NULL AND (label IS NOT NULL OR ?1)"
)
KEEP_ALL = (
    f"INSERT INTO kept SELECT {SPLITS.index(PRETRAIN)}, row_number() OVER (ORDER BY position) - 1, "
    "name, label, digest FROM files WHERE kind IS NULL AND part = 0"
)
CLASSES = "SELECT DISTINCT label FROM files WHERE kind IS NULL AND label IS NOT NULL ORDER BY label"
LOST = (
    "SELECT label FROM files WHERE label IS NOT NULL "
    "GROUP BY label HAVING count(*) = count(kind) ORDER BY label"
)
NO_CLASS = "SELECT count(*) FROM files WHERE kind IS NULL AND label IS NULL"
