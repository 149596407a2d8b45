-- Bodies are bytes, whatever the type of their column; older rows have text. line takes the place of title and metadata, which are
-- still read where older rows have them.
ALTER TABLE threads ADD COLUMN line BLOB;
