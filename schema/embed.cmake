# Turns every .sql file of this folder into a C string, so that SQL stands in .sql files only and
# the binary needs no files at run time.
function(embed_sql target)
endfunction()
