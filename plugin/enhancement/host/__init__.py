"""The process that we live in: Orthanc's Python plugin API, its generations, and what passes between it and us."""
