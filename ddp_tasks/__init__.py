"""The paper's concepts, one file each: arrays in, arrays out."""
